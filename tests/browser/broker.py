"""A broker process that asks for keys, for the tests of login and keys."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from support.broker_process import BrokerProcess

START_SECONDS = 120


class KeyedBroker:
    """`python -m broker` with BROKER_AUTH=required; `admin` is an admin's key. Playwright holds this thread's event
    loop, so nothing here may be async."""

    def __init__(self, directory: Path) -> None:
        secrets = {"BROKER_ADMIN_KEY_FILE": "admin", "BROKER_JOIN_TOKEN_FILE": "join"}
        for name in secrets.values():
            (directory / name).write_text(f"{name}-" + "0123456789abcdef" * 4)
        files = {variable: str(directory / name) for variable, name in secrets.items()}
        self.process = BrokerProcess(directory, {"BROKER_AUTH": "required", **files})
        self.url = f"http://127.0.0.1:{self.process.port}"
        self.http = requests.Session()
        self.http.trust_env = False
        self.admin = (directory / "admin").read_text()

    def __enter__(self) -> Self:
        self.process.spawn()
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process.is_running, self.process.log_text()
            assert time.monotonic() < deadline, self.process.log_text()
            time.sleep(0.05)  # the poll interval
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self.process.signal(signal.SIGKILL)
        while self.process.is_running:
            time.sleep(0.01)  # it was killed: this is a matter of milliseconds

    def _is_ready(self) -> bool:
        try:
            return self.http.get(f"{self.url}/ready", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """What the broker answers to an admin, or to who has `key`."""
        headers = {"Authorization": f"Bearer {key or self.admin}"}
        answer = self.http.request(method, self.url + path, json=body, headers=headers, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def key(self, name: str, role: str = "client") -> dict[str, Any]:
        """A new key, with its text."""
        made: dict[str, Any] = self.call("POST", "/keys", {"name": name, "role": role})
        return made
