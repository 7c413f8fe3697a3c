"""`docker compose up --scale node=3` as a user types it: the file itself, under a project name of the test's own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.bundle import free_port
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project() -> Iterator[tuple[list[str], dict[str, str], str]]:
    port = free_port()
    compose = [
        "docker",
        "compose",
        "--project-directory",
        str(ROOT),
        "--project-name",
        f"sandrun-test-{os.getpid()}",
    ]
    environment = os.environ | {"BROKER_PUBLISHED_PORT": str(port)}
    yield compose, environment, f"http://127.0.0.1:{port}"
    subprocess.run(
        [*compose, "down", "--volumes", "--timeout", "2"],
        env=environment,
        check=True,
        capture_output=True,
        timeout=300,
    )


def test_compose_up_scales_to_three_nodes(project: tuple[list[str], dict[str, str], str]) -> None:
    compose, environment, url = project
    up = [*compose, "up", "--detach", "--wait", "--wait-timeout", "240", "--scale", "node=3"]
    run = subprocess.run(up, env=environment, capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr

    nodes = wait_until(
        lambda: [n for n in requests.get(f"{url}/nodes", timeout=60).json()["nodes"] if n["active"]][2:] and True,
        seconds=120,
        what="three active nodes",
    )
    assert nodes
    answer = requests.post(f"{url}/submit?wait=20", json={"code": "print(21 * 2)"}, timeout=90).json()
    result = requests.get(f"{url}/results/{answer['job_id']}?wait=60", timeout=120).json()
    assert result["output"] == "42\n"

    # Only the API is published, on loopback; nodes publish nothing.
    listing = subprocess.run(
        [*compose, "ps", "--format", "{{.Service}} {{.Ports}}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    published = [line for line in listing.splitlines() if "->" in line]
    assert published == [f"broker 127.0.0.1:{url.rsplit(':', 1)[1]}->8000/tcp"]
