"""A stand-in for the C++ sandrun, as unhelpful as sandrun-api.md says.

It reads the wire itself, so that nothing is more lenient than the original: header names matter to the letter, every
connection is closed, a query string belongs to the job id, one lock is held for as long as a job runs, jobs start from
a loop that sleeps, limits of time and memory are ignored, clients are rate limited, and a restart forgets everything.
"""

import contextlib
import json
import re
import socket
import threading
import time
from typing import Any

from unit.agent.fake_sandrun import parse_multipart, script


class ForeignSandrun:
    """`requests` holds the request lines; `manifests` what its poor parser understood of each submission."""

    def __init__(self, *, start_pause: float = 0.1, max_active: int = 2, max_per_hour: int = 20) -> None:
        self.start_pause = start_pause
        self.max_active = max_active
        self.max_per_hour = max_per_hour
        self.requests: list[str] = []
        self.manifests: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.accepted = 0
        self.vanish_after = 300.0
        self._table = threading.Lock()
        """Held for the whole run of a job: whoever asks about jobs waits."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stop = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._execute, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def forget(self) -> None:
        """A restart between two jobs."""
        self.jobs.clear()

    def _execute(self) -> None:
        while not self._stop.wait(self.start_pause):
            job = next((job for job in list(self.jobs.values()) if job["status"] == "queued"), None)
            if job is None:
                continue
            with self._table:
                job["status"] = "running"
                self._stop.wait(job["sleep"])
                job["status"] = "failed" if job["exit"] else "completed"

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                head, body = self._read(connection)
                status, answer = self._answer(head, body)
                text = json.dumps(answer).encode()
                line = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Unknown'}\r\n"
                line += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                connection.sendall(line.encode() + text)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                return

    @staticmethod
    def _read(connection: socket.socket) -> tuple[str, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                raise OSError("gone")
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"^Content-Length: (\d+)", head, re.MULTILINE)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        return head.decode(), body

    def _answer(self, head: str, body: bytes) -> tuple[int, dict[str, Any]]:
        method, target, _ = head.split("\r\n")[0].split(" ")
        self.requests.append(f"{method} {target}")
        if target == "/":
            return 200, {"service": "sandrun", "status": "running", "description": "", "privacy": "", "limits": ""}
        if target == "/health":
            return 200, {"status": "healthy", "worker_id": None}
        with self._table:
            self._expire()
            if target == "/stats":
                return 200, self._stats()
            if (method, target) == ("POST", "/submit"):
                return self._submit(head, body)
            kind, _, job_id = target.strip("/").partition("/")
            job = self.jobs.get(job_id)
            if job is None or method != "GET" or kind not in ("status", "logs"):
                return 404, {"error": "Job not found"}
            if kind == "logs":
                return 200, {"stdout": job["stdout"], "stderr": job["stderr"]}
            # Exit codes of failed programs are passed through as they are; no verdict, no signal, no limit.
            metadata = {"exit_code": job["exit"], "wall_time_ms": 0, "cpu_seconds": 0.0, "memory_peak_mb": 0}
            return 200, {"job_id": job_id, "status": job["status"], "execution_metadata": metadata}

    def _expire(self) -> None:
        now = time.monotonic()
        for job_id in [i for i, job in self.jobs.items() if now - job["created"] > self.vanish_after]:
            del self.jobs[job_id]

    def _reason(self) -> str:
        active = [job for job in self.jobs.values() if job["status"] in ("queued", "running")]
        if len(active) >= self.max_active:
            return f"Max concurrent jobs reached ({self.max_active})"
        if self.accepted >= self.max_per_hour:
            return f"Max jobs per hour reached ({self.max_per_hour})"
        return ""

    def _stats(self) -> dict[str, Any]:
        active = sum(1 for job in self.jobs.values() if job["status"] == "running")
        queued = sum(1 for job in self.jobs.values() if job["status"] == "queued")
        quota: dict[str, Any] = {"used": 0, "limit": 10, "available": 10, "active_jobs": active + queued}
        quota.update(can_submit=not self._reason(), reason=self._reason())
        return {"your_quota": quota, "system": {"queue_length": queued, "active_jobs": active}}

    def _submit(self, head: str, body: bytes) -> tuple[int, dict[str, Any]]:
        kind = re.search(r"^Content-Type: (multipart/form-data; boundary=\S+)", head, re.MULTILINE)
        if kind is None or "Content-Length:" not in head:
            return 400, {"error": "No files uploaded"}
        if reason := self._reason():
            return 429, {"error": reason, "cpu_available": 10, "active_jobs": 0}
        parts = parse_multipart(kind[1], body)
        manifest = poor_manifest(parts.pop("manifest").decode())
        self.manifests.append(manifest)
        self.accepted += 1
        job_id = f"job_{int(time.time())}_{self.accepted}"
        code = parts.get(str(manifest.get("entrypoint")), b"").decode()
        self.jobs[job_id] = {"status": "queued", "created": time.monotonic(), **script(code)}
        return 200, {"job_id": job_id, "status": "queued"}


def poor_manifest(text: str) -> dict[str, Any]:
    """Strings and arrays of strings by pattern, as the original reads them; everything else does not exist."""
    found: dict[str, Any] = dict(re.findall(r'"(\w+)"\s*:\s*"([^"]*)"', text))
    for name, inner in re.findall(r'"(\w+)"\s*:\s*\[([^\]]*)\]', text):
        found[name] = re.findall(r'"([^"]*)"', inner)
    return found
