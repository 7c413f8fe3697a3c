"""A stand-in for the C++ sandrun, as unhelpful as the API's description says; it runs programs.

It reads the wire itself, so that nothing is more lenient than the original. Header names matter to the letter; every
connection is closed; a query string belongs to the job id; one job runs at a time, from a loop that sleeps; while it
runs every call about jobs waits; limits of time and memory are passed over; clients are rate limited; jobs are
forgotten. What that leaves open is answered in the least helpful way. Its `/stream` is not there: no agent uses it.

Tests of the agent's parts have it in their own process, as an object whose habits they change; tests with whole
processes run it as a program that can be killed. As a program it prints each request that it has answered.
"""

import argparse
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from support.foreign_programs import Program, poor_manifest, read_upload
from support.foreign_quota import Habits, Quota

Answer = tuple[int, str, bytes]


class ForeignSandrun:
    """Serves from its making on. `port` 0 takes a free one; uploads go to `folder`.

    `requests` holds what it has answered, as "200 GET /status/x"; `manifests` what its poor parser understood of each
    submission.
    """

    def __init__(
        self, folder: Path, habits: Habits, port: int = 0, heard: Callable[[str], None] = lambda line: None
    ) -> None:
        self.habits = habits
        self.requests: list[str] = []
        self.manifests: list[dict[str, Any]] = []
        self._folder = folder
        self._heard = heard
        self._quota = Quota(habits)
        self._jobs: dict[str, Program] = {}
        self._table = threading.Lock()
        """Held for the whole run of a job: whoever asks about jobs waits."""
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        for loop in (self._accept, self._execute):
            threading.Thread(target=loop, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and end what runs."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for job in list(self._jobs.values()):
            job.kill()

    def forget(self) -> None:
        """Every job, as a restart does."""
        self._jobs = {}

    def _execute(self) -> None:
        while not self._stop.wait(self.habits.pause):
            with self._table:
                job = next((job for job in self._jobs.values() if job.status == "queued"), None)
                if job is not None:
                    job.run()
                    self._quota.use(job.cpu_seconds)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            lines, body = _read(connection)
            method, target, _ = lines[0].split(" ")
            status, kind, content = self._answer(method, target, lines[1:], body)
            head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: {kind}\r\n"
            self.requests.append(f"{status} {method} {target}")
            self._heard(self.requests[-1])
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def _answer(self, method: str, target: str, headers: list[str], body: bytes) -> Answer:
        if target == "/":
            known = {"service": "sandrun", "status": "running", "description": "", "privacy": "", "limits": ""}
            return _json(200, known)
        if target == "/health":
            return _json(200, {"status": "healthy", "worker_id": None})
        if target == "/environments":
            figures = dict.fromkeys(("total_templates", "cached_environments", "total_uses", "disk_usage_mb"), 0)
            names = [name for name in self.habits.environments.split(",") if name]
            return _json(200, {"templates": names, "stats": figures})
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
        for job_id in [i for i, job in self._jobs.items() if now - job.created > self.habits.lifetime]:
            del self._jobs[job_id]

    def _submit(self, headers: list[str], body: bytes) -> Answer:
        kinds = [line for line in headers if line.startswith("Content-Type: multipart/form-data")]
        if not kinds or not any(line.startswith("Content-Length: ") for line in headers):
            return _json(400, {"error": "No files uploaded"})
        if reason := self._quota.reason(self._active()):
            known = {"error": reason, "cpu_available": 0, "active_jobs": self._active()}
            return _json(429, known)
        job_id = f"job_{int(time.time())}_{len(self.manifests)}"
        folder = self._folder / job_id
        text = read_upload(kinds[0].removeprefix("Content-Type: "), body, folder)
        if text is None and (folder / "job.json").exists():
            text = (folder / "job.json").read_text()
        self.manifests.append(poor_manifest(text or "{}"))
        self._jobs[job_id] = Program(folder, self.manifests[-1])
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


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True)
    for field in fields(Habits):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    port, folder = options.pop("port"), Path(options.pop("folder"))
    ForeignSandrun(folder, Habits(**options), port, lambda line: print(line, flush=True))
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
