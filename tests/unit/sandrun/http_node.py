"""The HTTP API behind a real port, on sandboxes that are not real."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from websockets.sync.client import ClientConnection, connect

from sandrun.api import protocol
from sandrun.api.app import create_app
from sandrun.identity import Identity
from sandrun.service import Service
from sandrun.settings import Settings
from unit.sandrun.builders import SETTINGS, FakeLauncher, FakeSandbox, a_platform

SECONDS = 60.0


class Node:
    """A service behind a real port."""

    def __init__(self, service: Service, launcher: FakeLauncher, client: httpx.Client) -> None:
        self.service = service
        self.launcher = launcher
        self.client = client

    def submit(self, code: bytes = b"out", **manifest: Any) -> str:
        answer = self.post([("files", ("main.py", code))], manifest)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def post(self, files: list[Any], manifest: Any = None) -> httpx.Response:
        data = {} if manifest is None else {"manifest": manifest if isinstance(manifest, str) else json.dumps(manifest)}
        return self.client.post("/submit", files=files, data=data)

    def ended(self, job_id: str) -> dict[str, Any]:
        shown = self.client.get(f"/status/{job_id}", params={"wait": SECONDS, "logs": "true"}).json()
        assert shown["status"] in ("completed", "failed")
        return dict(shown)

    def stream(self, job_id: str) -> ClientConnection:
        return connect(f"ws://{self.client.base_url.netloc.decode()}/stream/{job_id}", open_timeout=SECONDS, proxy=None)


@contextmanager
def a_node(
    directory: Path,
    launcher: FakeLauncher | None = None,
    settings: Settings = SETTINGS,
    identity: Identity | None = None,
    **platform: Any,
) -> Iterator[Node]:
    launcher = launcher or FakeLauncher()
    service = Service(settings, a_platform(launcher, **platform), identity, directory)
    server = uvicorn.Server(protocol.server_config(create_app(service), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not server.started:
        assert time.monotonic() < deadline
        thread.join(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS * 2, trust_env=False) as client:
        yield Node(service, launcher, client)
    server.should_exit = True
    thread.join(SECONDS)
    assert not thread.is_alive()


def held(code: bytes) -> FakeSandbox:
    """A program that prints its source and runs until somebody ends it."""
    return FakeSandbox(prints=code, end=None)
