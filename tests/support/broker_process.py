"""A real broker process on loopback: started, killed, stopped and started again on the same port and files."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from support.http_connection import Connection, json_request

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 120.0
_READY: Final = json_request("GET", "/ready")


def free_port() -> int:
    """A loopback port that is free now; fixed, so that a restarted broker keeps its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process(Protocol):
    """What is needed of a started process; subprocess.Popen has it."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, waited for. subprocess.TimeoutExpired."""


class BrokerProcess:
    """`python -m broker` with its files in `directory`. Leaving the `async with` block ends the process."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        command: tuple[str, ...] = (sys.executable, "-m", "broker"),
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.database = directory / "broker.db"
        self.log = directory / "broker.log"
        self.environment = dict(environment or {})
        self._command = command
        self._process: Process | None = None

    async def __aenter__(self) -> BrokerProcess:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, **environment: str) -> None:
        """Start the process and do not wait for it."""
        assert not self.is_running, "already running"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process = self._launch(self._environment() | self.environment | environment)

    def _launch(self, environment: dict[str, str]) -> Process:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def start(self, **environment: str) -> None:
        """Start it and wait until it says that it is ready."""
        self.spawn(**environment)
        await self.wait_ready()

    async def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until /ready answers 200; AssertionError with the log when the process ends or the time is up."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            if not self.is_running:
                raise AssertionError(f"the broker ended with {self.exit_code} at start:\n{self.log_text()}")
            if await self._answers_ready():
                return
            await asyncio.sleep(0.02)  # the poll interval
        raise AssertionError(f"not ready within {seconds} s:\n{self.log_text()}")

    async def _answers_ready(self) -> bool:
        try:
            async with asyncio.timeout(10):
                connection = await Connection.open(self.port)
                try:
                    return (await connection.send(_READY)).status == 200
                finally:
                    connection.abort()
        except (OSError, TimeoutError):
            return False

    @property
    def exit_code(self) -> int | None:
        """Of the ended process; negative for a signal."""
        return None if self._process is None else self._process.poll()

    async def wait_ended(self, seconds: float) -> int:
        """The exit code, once the process has ended by itself."""
        process = self._process
        assert process is not None, "not started"
        try:
            return await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the broker still runs after {seconds} s:\n{self.log_text()}") from None

    async def kill(self) -> None:
        """SIGKILL, and wait for the end; nothing when it has ended."""
        if self.is_running:
            self.signal(signal.SIGKILL)
            await self.wait_ended(60)

    async def terminate(self, seconds: float = 60) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait_ended(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def log_text(self) -> str:
        """The end of what the process printed."""
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS: the process has ended")

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _environment(self) -> dict[str, str]:
        """What the broker gets: nothing of the caller's environment but the path of programs."""
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONPATH": f"{ROOT / 'services' / 'broker'}:{ROOT / 'tests'}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "BROKER_HOST": "127.0.0.1",
            "BROKER_PORT": str(self.port),
            "BROKER_DATABASE": str(self.database),
        }
