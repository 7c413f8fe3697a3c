"""A sandrun with all extensions that runs nothing: a job's code is a few words that say how it goes.

`echo TEXT`, `err TEXT`, `sleep SECONDS`, `exit CODE`, `verdict WORD`, `hang`, `file NAME TEXT`, one a line.
"""

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qs

from support import multipart
from unit.agent.http_fake import FakeServer, RawAnswerError

EXTENSIONS = ("wait", "result", "cancel", "stdin", "slots", "limits")
LIVE = (*EXTENSIONS, "logs-base64", "logs-wait", "forget")


class FakeSandrun(FakeServer):
    """`submissions` holds every accepted job's parts; `busy` answers 429 that many times. With `full` jobs wait inside,
    until let_start()."""

    def __init__(self, extensions: tuple[str, ...] = EXTENSIONS, slots: int = 2) -> None:
        self.extensions = extensions
        self.slots = slots
        self.interpreters = {"python3": "3.11.2", "bash": "5.2.15"}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.submissions: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.forgotten: list[str] = []
        self.busy = 0
        self.hanging = False
        self.full = False
        self._count = 0
        super().__init__()

    def answer(self, handler: Any, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        with self.changed:
            self.changed.wait_for(lambda: not self.hanging, 300)
        if path == "/":
            return 200, self.describe()
        if path == "/health":
            return 200, {"status": "healthy", "worker_id": None}
        if path == "/submit":
            return self._submit(handler.headers["Content-Type"], body)
        kind, _, job_id = path.strip("/").partition("/")
        job_id, _, name = job_id.partition("/")
        with self.changed:
            job = self.jobs.get(job_id)
            if job is None:
                return 404, {"error": "Job not found"}
            if kind == "logs":
                return 200, self._live(job, parse_qs(handler.path.partition("?")[2]))
            if kind == "download" and name in job["files"]:
                data = job["files"][name].encode()
                raise RawAnswerError(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            if kind == "jobs" and "forget=" in handler.path:
                self.forgotten.append(job_id)
                return 200, {"status": "forgotten"}
            if kind == "jobs" and handler.command == "DELETE":
                job["cancel"] = True
                self.cancelled.append(job_id)
                self.changed.notify_all()
                return 200, {"status": "cancelled"}
            if kind == "status":
                return 200, self._status(job, handler.path.partition("?")[2])
        return 404, {"error": "no such call"}

    def describe(self) -> dict[str, Any]:
        return {
            "service": "sandrun",
            "status": "running",
            "isolation": "namespaces",
            "limits": {"memory_mb": {"default": 512, "max": 2048}},
            "version": "9.9",
            "extensions": list(self.extensions),
            "interpreters": self.interpreters,
            "slots": {"total": self.slots, "free": self.slots},
        }

    def restart(self) -> None:
        """As a crash and a new process on the same port: every job is forgotten."""
        self.stop()
        with self.changed:
            self.jobs.clear()
            self.changed.notify_all()
        self.start()

    def hang(self) -> None:
        """Take connections and answer nobody, until go_on()."""
        with self.changed:
            self.hanging = True

    def go_on(self) -> None:
        """Answer again, also those who still wait."""
        with self.changed:
            self.hanging = False
            self.changed.notify_all()

    def let_start(self) -> None:
        """There is room again: what waits runs."""
        with self.changed:
            self.full = False
            for job in self.jobs.values():
                if job["queued"]:
                    job.update(queued=False, began=time.monotonic())
            self.changed.notify_all()

    def let_end(self) -> None:
        """What runs has slept long enough."""
        with self.changed:
            for job in self.jobs.values():
                job["sleep"] = 0.0
            self.changed.notify_all()

    def _submit(self, content_type: str, body: bytes) -> tuple[int, dict[str, Any]]:
        parts = parse_multipart(content_type, body)
        manifest = json.loads(parts.pop("manifest"))
        with self.changed:
            if self.busy:
                self.busy -= 1
                return 429, {"error": "Max concurrent jobs reached"}
            self._count += 1
            job_id = f"job_{self._count}"
            self.submissions.append({"manifest": manifest, **parts})
            code = parts.get(manifest["entrypoint"], b"").decode()
            self.jobs[job_id] = {"id": job_id, "began": time.monotonic(), **script(code), "manifest": manifest}
            self.jobs[job_id]["queued"] = self.full
            self.changed.notify_all()
            return 200, {"job_id": job_id, "status": "queued", "queue_position": int(self.full)}

    def _status(self, job: dict[str, Any], query: str) -> dict[str, Any]:
        options = dict(pair.split("=") for pair in query.split("&") if pair)
        deadline = time.monotonic() + float(options.get("wait", 0))
        with self.changed:
            while not self._ended(job) and (left := deadline - time.monotonic()) > 0:
                self.changed.wait(min(left, max(0.01, job["began"] + job["sleep"] - time.monotonic())))
                if job["id"] not in self.jobs:
                    break
            if not self._ended(job):
                return {"job_id": job["id"], "status": "queued" if job["queued"] else "running"}
            metadata: dict[str, Any] = {
                "exit_code": job["exit"],
                "failure": job["verdict"] or ("exit" if job["exit"] else None),
                "wall_time_ms": int(job["sleep"] * 1000),
                "cpu_seconds": 0.01,
                "memory_peak_bytes": 1000,
                "stdout_bytes": len(job["stdout"]),
                "stderr_bytes": len(job["stderr"]),
            }
            if job.get("cancel"):
                metadata.update(failure="cancelled", exit_code=None)
            status = "failed" if metadata["failure"] else "completed"
            answer = {"job_id": job["id"], "status": status, "execution_metadata": metadata}
            if job["files"]:
                answer["output_files"] = {name: _described(text.encode()) for name, text in job["files"].items()}
            if options.get("logs") == "true":
                answer.update(stdout=job["stdout"], stderr=job["stderr"])
            return answer

    def _live(self, job: dict[str, Any], options: dict[str, list[str]]) -> dict[str, Any]:
        """All that the job prints is there from its start."""
        start, deadline = int(options["stdout_from"][0]), time.monotonic() + float(options["wait"][0])
        while start >= len(job["stdout"]) and not self._ended(job) and (left := deadline - time.monotonic()) > 0:
            self.changed.wait(min(left, 0.05))
        data = base64.b64encode(job["stdout"][start:].encode()).decode()
        status = "completed" if self._ended(job) else "running"
        return {"status": status, "stdout_base64": data, "stdout_from": start}

    @staticmethod
    def _ended(job: dict[str, Any]) -> bool:
        return bool(job.get("cancel")) or (not job["queued"] and time.monotonic() >= job["began"] + job["sleep"])


def script(code: str) -> dict[str, Any]:
    """How a job made of these words goes."""
    job: dict[str, Any] = {"stdout": "", "stderr": "", "sleep": 0.0, "exit": 0, "verdict": None, "files": {}}
    for line in code.splitlines():
        word, _, rest = line.partition(" ")
        if word == "echo":
            job["stdout"] += rest + "\n"
        elif word == "file":
            name, _, text = rest.partition(" ")
            job["files"][name] = text
        elif word == "err":
            job["stderr"] += rest + "\n"
        elif word == "sleep":
            job["sleep"] = float(rest)
        elif word == "hang":
            job["sleep"] = 1e9
        elif word == "exit":
            job["exit"] = int(rest)
        elif word == "verdict":
            job["verdict"] = rest
            job["exit"] = None
    return job


def _described(data: bytes) -> dict[str, Any]:
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "type": "text/plain"}


def parse_multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    """Parts by file name; the manifest under its field name."""
    found: dict[str, bytes] = {}
    for field, file_name, content in multipart.parts(content_type, body):
        assert field in ("files", "manifest")
        found[file_name or field] = content
    return found
