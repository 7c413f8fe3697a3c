"""Every node of a compose bundle dies, and `--scale` brings new ones: the jobs run there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from failover.client import Client
from failover.cluster import QUICK, copy_database
from support.auditor import Auditor
from support.bundle import free_port
from support.history import History
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Project:
    """`docker compose` under a name of its own."""

    def __init__(self) -> None:
        self.name = f"sandrun-failover-{os.getpid()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | QUICK | {"BROKER_PUBLISHED_PORT": str(self.port)}

    def compose(self, *arguments: str) -> None:
        """Run it; AssertionError with what it said when it fails."""
        command = ["docker", "compose", "--project-directory", str(ROOT), "--project-name", self.name, *arguments]
        run = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=400)
        assert run.returncode == 0, run.stderr

    def scale(self, nodes: int) -> None:
        """Start what is missing of so many nodes."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "240", "--no-recreate", "--scale", f"node={nodes}")


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()
    yield project
    project.compose("down", "--volumes", "--timeout", "2")


def test_all_nodes_are_killed_and_scaled_up_anew(project: Project, tmp_path: Path) -> None:
    project.scale(2)
    history = History()
    client = Client("client", project.url, history)
    jobs = [*(client.submit(8) for _ in range(4)), *(client.submit(0.5) for _ in range(4))]
    wait_until(
        lambda: all(client.status(job)["status"] == "running" for job in jobs[:4]), seconds=120, what="all slots run"
    )
    engine = docker.from_env()
    labels = [f"com.docker.compose.project={project.name}", "com.docker.compose.service=node"]
    dead = engine.containers.list(filters={"label": labels})
    assert len(dead) == 2
    for node in dead:
        node.remove(force=True, v=True)  # as if their machines were gone
    project.scale(3)
    for job in jobs:
        client.result(job)
    ends = [[attempt["outcome"] for attempt in client.attempts(job)] for job in jobs]
    assert all(end in (["completed"], ["node_lost", "completed"]) for end in ends), ends
    assert ["node_lost", "completed"] in ends, "somebody's node died"
    (broker,) = engine.containers.list(filters={"label": [labels[0], "com.docker.compose.service=broker"]})
    database = tmp_path / "broker.db"
    database.write_bytes(copy_database(broker))
    Auditor(history, database).check()
    client.close()
    engine.close()
