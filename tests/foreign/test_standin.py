"""The stand-in is as unhelpful as the API's description says: else the other tests here would show nothing."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from foreign.rig import LONG_ENOUGH, start_standin
from support.broker_process import free_port
from support.waiting import wait_until


class Client:
    """Of one stand-in."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def submit(self, code: str, manifest: str = "{}") -> requests.Response:
        """A python program."""
        parts: Any = [("files", ("main.py", code.encode())), ("manifest", (None, manifest))]
        return requests.post(f"{self.url}/submit", files=parts, timeout=60)

    def get(self, path: str, timeout: float = 60) -> requests.Response:
        """One call."""
        return requests.get(self.url + path, timeout=timeout)

    def ended(self, job: str) -> dict[str, Any]:
        """The status of an ended job."""
        wait_until(
            lambda: self.get(f"/status/{job}").json()["status"] in ("completed", "failed"),
            seconds=LONG_ENOUGH,
            what=job,
        )
        return dict(self.get(f"/status/{job}").json())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    port = free_port()
    options = ("--pause", "0.1", "--per-hour", "5")
    standin = start_standin(tmp_path_factory.mktemp("standin") / "jobs", port, *options)
    yield Client(port)
    standin.kill()


def test_header_names_matter_to_the_letter_and_no_connection_is_kept(client: Client) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="main.py"\r\n\r\n1\r\n--x--\r\n'
    head = "POST /submit HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # until it closes
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"No files uploaded" in answer
    assert b"Retry-After" not in answer


def test_status_blocks_while_a_job_runs_and_health_does_not(client: Client, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    code = (
        "import os, sys, time\nopen(sys.argv[1], 'w')\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.02)\nsys.exit(7)"
    )
    job = client.submit(code, f'{{"args": ["{begun}", "{gate}"], "timeout": 1}}').json()["job_id"]
    wait_until(begun.exists, seconds=LONG_ENOUGH, what=job)
    assert client.get("/health").json()["status"] == "healthy"
    with pytest.raises(requests.ReadTimeout):
        client.get(f"/status/{job}", timeout=1.2)
    gate.touch()
    status = client.ended(job)
    assert (status["status"], status["execution_metadata"]["exit_code"]) == ("failed", 7), "its timeout is not held"
    assert client.get(f"/status/{job}?wait=1").status_code == 404, "a query string is part of the id"


def test_outputs_are_there_until_all_are_downloaded(client: Client) -> None:
    job = client.submit("open('a', 'w').write('x')").json()["job_id"]
    assert client.ended(job)["output_files"]["a"]["size_bytes"] == 1
    assert client.get(f"/outputs/{job}").json()["total_files"] == 1
    assert client.get(f"/download/{job}/a").content == b"x"
    assert client.get(f"/download/{job}/%2e%2e%2f%2e%2e%2fx").status_code == 403
    with tarfile.open(fileobj=io.BytesIO(client.get(f"/download/{job}").content)) as archive:
        assert archive.getnames() == ["a"]
    assert client.get(f"/status/{job}").status_code == 404


def test_a_client_that_asks_for_much_meets_429(client: Client) -> None:
    answers = [client.submit("import time; time.sleep(0.4)") for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].json().keys() == {"error", "cpu_available", "active_jobs"}
    assert "Retry-After" not in refused[0].headers
