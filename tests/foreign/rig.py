"""A real broker, the real agent and the stand-in, each a process of its own, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import requests

from chaos.rig import FaultyBroker
from support.auditor import Auditor
from support.broker_process import ROOT, free_port
from support.history import History
from support.node_log import NodeLog
from support.waiting import wait_until

LONG_ENOUGH: Final = 150.0
BIN: Final = str(Path(sys.executable).parent)


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, log: Path, command: list[str], environment: dict[str, str]) -> None:
        self._log = log
        with log.open("ab") as file:
            self._popen = subprocess.Popen(command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL)

    @property
    def said(self) -> str:
        """All that it printed."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        self._popen.kill()
        self._popen.wait(60)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self._popen.terminate()
        return self._popen.wait(LONG_ENOUGH)


def start_standin(folder: Path, port: int, *options: str) -> Process:
    """A fresh one, with nothing remembered; ready when it returns."""
    standin = Process(
        folder.with_suffix(".log"),
        [sys.executable, "-m", "support.foreign_sandrun", f"--port={port}", f"--folder={folder}", *options],
        {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "tests")},
    )
    wait_until(lambda: "ready" in standin.said, seconds=LONG_ENOUGH, what=lambda: standin.said)
    return standin


class Rig:
    """The three of them. Leaving the block ends them and audits what the broker keeps."""

    def __init__(self, folder: Path, *standin: str, **broker: str) -> None:
        self.folder = folder
        self._options = ("--pause", "0.1", "--per-hour", "1000", "--cpu-seconds", "1000", *standin)
        # No fault is armed: what counts is that this broker starts quickly. Its grace is long, as an operator's is.
        self.broker = FaultyBroker(folder / "broker", {"NODE_TIMEOUT": "30", "BROKER_TIMEOUT_GRACE": "15", **broker})
        self.history = History()
        self.port = free_port()
        self.web = requests.Session()
        self.standin: Process
        self.agent: Process

    def __enter__(self) -> Rig:
        self.broker.spawn()  # all three start side by side: the agent waits for the others
        self.agent = Process(
            self.folder / "agent.log",
            [sys.executable, str(ROOT / "services/node/node.py"), "--broker", self.url, "--sandrun", self.standin_url],
            {
                "PATH": f"{BIN}:{os.environ['PATH']}",  # the programs that the stand-in runs and the agent looks for
                "PYTHONPATH": str(ROOT / "services/node"),
                "NODE_STATE_DIR": str(self.folder / "state"),
                "NODE_LIVE_FILE": str(self.folder / "live.json"),
                "NODE_POLL_INTERVAL": "0.5",
                "LOG_FORMAT": "json",
            },
        )
        self.start_standin()
        asyncio.run(self.broker.wait_ready())
        wait_until(lambda: self.get("/nodes").json()["nodes"], seconds=LONG_ENOUGH, what=lambda: self.agent.said)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            code = self.agent.terminate()
        finally:
            self.agent.kill()
            self.standin.kill()
            self.web.close()
            asyncio.run(self.broker.kill())
        if kind is not None:
            print(self.agent.said[-6000:], self.standin.said[-2000:], self.broker.log_text()[-3000:], sep="\n---\n")
            return
        assert code == 0, self.agent.said
        assert "Traceback" not in self.agent.said
        assert "Traceback" not in self.standin.said
        Auditor(self.history, self.broker.database, logs=[NodeLog(self.agent.said)]).check()

    @property
    def url(self) -> str:
        """The broker's."""
        return f"http://127.0.0.1:{self.broker.port}"

    @property
    def standin_url(self) -> str:
        """The stand-in's."""
        return f"http://127.0.0.1:{self.port}"

    def start_standin(self, *more: str) -> None:
        """With nothing remembered; `more` options beat those of the rig."""
        folder = self.folder / f"standin-{time.monotonic_ns()}"
        self.standin = start_standin(folder, self.port, *self._options, *more)

    def get(self, path: str) -> requests.Response:
        """A call that the history has."""
        call = self.history.sent("client", path.split("/")[1].partition("?")[0], {"path": path})
        answer = self.web.get(self.url + path, timeout=LONG_ENOUGH)
        with contextlib.suppress(ValueError):
            self.history.answered(call, answer.status_code, answer.json())
        return answer

    def submit(self, code: str = "print('hello')", **fields: Any) -> str:
        """A job in JSON; its id."""
        return self._submitted(json={"timeout": 20, **({"code": code} if code else {}), **fields})

    def upload(self, name: str, content: bytes, manifest: str) -> str:
        """A job as a sandrun client sends it; its id."""
        return self._submitted(files=[("files", (name, io.BytesIO(content))), ("manifest", (None, manifest))])

    def _submitted(self, **body: Any) -> str:
        call = self.history.sent("client", "submit", {"headers": {}})
        answer = self.web.post(f"{self.url}/submit", timeout=LONG_ENOUGH, **body)
        self.history.answered(call, answer.status_code, answer.json())
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def result(self, job_id: str) -> dict[str, Any]:
        """Waited for."""

        def ended() -> dict[str, Any] | None:
            answer = self.get(f"/results/{job_id}?wait=10")
            return dict(answer.json()) if answer.status_code == 200 else None

        found: dict[str, Any] = wait_until(
            ended, seconds=LONG_ENOUGH, what=lambda: f"{self.job(job_id)}\n{self.agent.said[-4000:]}"
        )
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """With its attempts and its explanation."""
        return dict(self.web.get(f"{self.url}/jobs/{job_id}", timeout=LONG_ENOUGH).json())

    def outcomes(self, job_id: str) -> list[str]:
        """Of its attempts, in order."""
        return [str(attempt["outcome"]) for attempt in self.job(job_id)["attempts"]]

    def until(self, job_id: str, status: str) -> None:
        """Until the job is in this state."""
        wait_until(
            lambda: self.job(job_id)["status"] == status, seconds=LONG_ENOUGH, what=lambda: str(self.job(job_id))
        )


def rigs(*arguments: Any, **settings: Any) -> Iterator[Rig]:
    """One rig, for a fixture."""
    with Rig(*arguments, **settings) as rig:
        yield rig
