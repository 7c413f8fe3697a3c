"""Broker processes forked from one that has the libraries loaded: each start saves 0.6 s, and a test needs two of them.

The broker's own code is imported after the fork, as in any process; what is shared is third-party code alone.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import subprocess
import threading
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

LIBRARIES = [
    "alembic.command",
    "fastapi.openapi.utils",
    "httptools",
    "pydantic_settings",
    "sqlmodel",
    "uvicorn",
    "uvloop",
]


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


_CONTEXT = _context()


def _become_broker(environment: Mapping[str, str], directory: str, log: str) -> None:
    """In the new process: settle in, then run the broker with faults under it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    from chaos.faulty_broker import main  # reads the environment when it is loaded

    main()


class ForkedBroker:
    """The part of subprocess.Popen that BrokerProcess uses."""

    def __init__(self, environment: Mapping[str, str], directory: Path, log: Path) -> None:
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_become_broker, args=(dict(environment), str(directory), str(log)), daemon=True
        )  # daemon: whatever a test forgets ends with the tests, instead of keeping them from ending
        self._process.start()
        self._lock = threading.Lock()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with self._lock:  # the exit code comes through a pipe that can be read once
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, waited for. subprocess.TimeoutExpired."""
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("broker", timeout or 0)
        return code
