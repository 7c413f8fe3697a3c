"""A stand-in for the C++ sandrun, a process of its own: as unhelpful as the API's description says; it runs programs.

It reads the wire itself, so that nothing is more lenient than the original. Header names matter to the letter; every
connection is closed; a query string belongs to the job id; one job runs at a time, from a loop that sleeps; while it
runs every call about jobs waits; limits of time and memory are passed over; clients are rate limited; jobs are
forgotten. What that leaves open is answered in the least helpful way. Its `/stream` is not there: no agent uses it.

Each request that it has answered is a line of its output, with the status.
"""

import argparse
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreign.programs import Program, poor_manifest, read_upload

Answer = tuple[int, str, bytes]


class Quota:
    """What one client may do: so many jobs at once, so many in an hour, so much CPU time in a minute."""

    def __init__(self, active: int, hourly: int, hour: float, cpu_seconds: float) -> None:
        self._active, self._hourly, self._hour, self._cpu_seconds = active, hourly, hour, cpu_seconds
        self._taken: list[float] = []
        self._used: list[tuple[float, float]] = []

    def take(self) -> None:
        """A job was accepted."""
        self._taken.append(time.monotonic())

    def use(self, cpu_seconds: float) -> None:
        """A job has used CPU time."""
        self._used.append((time.monotonic(), cpu_seconds))

    def used(self) -> float:
        """CPU seconds of the last minute."""
        now = time.monotonic()
        return sum(seconds for at, seconds in self._used if now - at < 60)

    def reason(self, active: int) -> str:
        """Why no job is taken now; empty when one is."""
        now = time.monotonic()
        if active >= self._active:
            return f"Max concurrent jobs reached ({self._active})"
        if sum(now - at < self._hour for at in self._taken) >= self._hourly:
            return f"Max jobs per hour reached ({self._hourly})"
        return "CPU quota exhausted" if self.used() >= self._cpu_seconds else ""

    def stats(self, active: int) -> dict[str, Any]:
        """`your_quota` of /stats."""
        used, reason = self.used(), self.reason(active)
        left = max(0.0, self._cpu_seconds - used)
        known = {"used": used, "limit": self._cpu_seconds, "available": left, "active_jobs": active}
        return known | {"can_submit": not reason, "reason": reason}


class Standin:
    """Jobs, and the answers about them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._environments = [name for name in options.environments.split(",") if name]
        self._quota = Quota(options.max_active, options.per_hour, options.hour, options.cpu_seconds)
        self._jobs: dict[str, Program] = {}
        self._accepted = 0
        self._table = threading.Lock()
        """Held for the whole run of a job: whoever asks about jobs waits."""

    def execute(self) -> None:
        """Run one job after the other, for ever."""
        while True:
            time.sleep(self._options.pause)
            with self._table:
                job = next((job for job in self._jobs.values() if job.status == "queued"), None)
                if job is not None:
                    job.run()
                    self._quota.use(job.cpu_seconds)

    def answer(self, method: str, target: str, headers: list[str], body: bytes) -> Answer:
        """One request. `target` is taken as it came."""
        if target == "/":
            known = {"service": "sandrun", "status": "running", "description": "", "privacy": "", "limits": ""}
            return _json(200, known)
        if target == "/health":
            return _json(200, {"status": "healthy", "worker_id": None})
        if target == "/environments":
            figures = dict.fromkeys(("total_templates", "cached_environments", "total_uses", "disk_usage_mb"), 0)
            return _json(200, {"templates": self._environments, "stats": figures})
        with self._table:
            self._forget_old()
            if (method, target) == ("POST", "/submit"):
                return self._submit(headers, body)
            if target == "/stats":
                active = self._active()
                return _json(
                    200,
                    {
                        "your_quota": self._quota.stats(active),
                        "system": {"queue_length": active, "active_jobs": 0},
                    },
                )
            return self._about(method, target)

    def _active(self) -> int:
        return sum(job.status == "queued" for job in self._jobs.values())

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job_id in [i for i, job in self._jobs.items() if now - job.created > self._options.lifetime]:
            del self._jobs[job_id]

    def _submit(self, headers: list[str], body: bytes) -> Answer:
        kinds = [line for line in headers if line.startswith("Content-Type: multipart/form-data")]
        if not kinds or not any(line.startswith("Content-Length: ") for line in headers):
            return _json(400, {"error": "No files uploaded"})
        if reason := self._quota.reason(self._active()):
            known = {"error": reason, "cpu_available": 0, "active_jobs": self._active()}
            return _json(429, known)
        self._accepted += 1
        job_id = f"job_{int(time.time())}_{self._accepted}"
        folder = Path(self._options.folder) / job_id
        text = read_upload(kinds[0].removeprefix("Content-Type: "), body, folder)
        if text is None and (folder / "job.json").exists():
            text = (folder / "job.json").read_text()
        self._jobs[job_id] = Program(folder, poor_manifest(text or "{}"))
        self._quota.take()
        return _json(200, {"job_id": job_id, "status": "queued"})

    def _about(self, method: str, target: str) -> Answer:
        kind, _, rest = target.strip("/").partition("/")
        job_id, _, path = rest.partition("/")
        job = self._jobs.get(job_id)
        calls: dict[str, Callable[[], Answer]] = {}
        if job is not None and method == "GET":
            calls = {
                "status": lambda: _json(200, {"job_id": job_id, **job.document()}),
                "logs": lambda: _json(200, {"stdout": job.stdout, "stderr": job.stderr}),
                "outputs": lambda: _json(200, {"job_id": job_id, **job.listing(job_id)}),
                "download": lambda: self._download(job_id, job, path),
            }
        return calls[kind]() if kind in calls else _json(404, {"error": "Job not found"})

    def _download(self, job_id: str, job: Program, path: str) -> Answer:
        if not path:
            del self._jobs[job_id]
            return 200, "application/gzip", job.packed()
        content = job.output(path)
        if isinstance(content, int):
            return _json(content, {"error": "File not found" if content == 404 else "Access denied"})
        return 200, "application/octet-stream", content


def _json(status: int, value: Any) -> Answer:
    return status, "application/json", json.dumps(value).encode()


def _read(connection: socket.socket) -> tuple[list[str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise OSError("gone")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next((int(line[16:]) for line in lines if line.startswith("Content-Length: ")), 0)
    pieces = [body]
    missing = length - len(body)
    while missing > 0:
        chunk = connection.recv(min(missing, 1 << 20))
        if not chunk:
            raise OSError("gone")
        pieces.append(chunk)
        missing -= len(chunk)
    return lines, b"".join(pieces)


def _serve(standin: Standin, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        lines, body = _read(connection)
        method, target, _ = lines[0].split(" ")
        status, kind, content = standin.answer(method, target, lines[1:], body)
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: {kind}\r\n"
        print(f"{status} {method} {target}", flush=True)
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds that the loop sleeps")
    parser.add_argument("--max-active", type=int, default=2)
    parser.add_argument("--per-hour", type=int, default=20)
    parser.add_argument("--hour", type=float, default=3600.0, help="seconds that its hour has")
    parser.add_argument("--cpu-seconds", type=float, default=10.0, help="in a minute")
    parser.add_argument("--lifetime", type=float, default=300.0, help="seconds after which a job is forgotten")
    parser.add_argument("--environments", default="")
    options = parser.parse_args()
    standin = Standin(options)
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        threading.Thread(target=standin.execute, daemon=True).start()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(standin, connection), daemon=True).start()


if __name__ == "__main__":
    main()
