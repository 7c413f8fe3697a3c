"""A real agent as a process on loopback, and what the kernel says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.broker_process import ROOT

NODE = ROOT / "services" / "node"


class Holds(NamedTuple):
    """What a process holds of the kernel's."""

    threads: int
    descriptors: int


def held_by(pid: int) -> Holds:
    """Of a process that runs."""
    folder = Path(f"/proc/{pid}")
    return Holds(len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir())))


def files_in(folder: Path) -> set[str]:
    """Every file below it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class AgentProcess:
    """`python node.py` with its state in `folder`. Leaving the block kills it."""

    def __init__(self, folder: Path, broker: str, sandrun: str, **environment: str) -> None:
        self.state = folder / "state"
        self._log = folder / "agent.log"
        self._command = [sys.executable, str(NODE / "node.py"), "--broker", broker, "--sandrun", sandrun]
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(NODE),
            "NODE_LIVE_FILE": str(folder / "live.json"),
            "NODE_STATE_DIR": str(self.state),
            "NODE_POLL_INTERVAL": "0.5",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "TMPDIR": str(folder),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> AgentProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Once more after its end, with the same files."""
        assert self._process is None or self._process.poll() is not None, "it runs"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._running.poll() is None

    @property
    def said(self) -> str:
        """All that it logged."""
        return self._log.read_text(errors="replace")

    @property
    def spool(self) -> set[str]:
        """The files of results that wait."""
        return files_in(self.state / "spool")

    def kill(self) -> None:
        """SIGKILL."""
        self._running.kill()
        self._running.wait(60)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self._running.terminate()
        return self._running.wait(60)
