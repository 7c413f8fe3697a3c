"""A small HTTP server for fakes: routes to one method, can lose answers, can go away and come back on its port."""

import json
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 60.0
"""Seconds after which what is waited for does not come any more; a busy machine needs a few."""


class LostAnswerError(Exception):
    """Close the connection without an answer."""


class RawAnswerError(Exception):
    """Send these bytes as they are and close the connection."""


class FakeServer:
    """Subclasses implement `answer`.

    `calls` counts requests by path; `lose[path] = n` swallows the next n answers after doing what they say;
    `refuse[path]` lists answers to give instead of doing anything, `raw[path]` whole responses, after which the
    connection is closed. `mute` swallows every answer after doing what it says.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.calls: Counter[str] = Counter()
        self.request_ids: list[tuple[str, str | None]] = []
        self.submit_requests: list[tuple[str, str | None]] = []
        self.lose: Counter[str] = Counter()
        self.mute = False
        self.refuse: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.raw: dict[str, list[bytes]] = {}
        self.sockets: set[socket.socket] = set()
        self.port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and break those that are open, as a killed process does."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            self.break_connections()

    def break_connections(self) -> None:
        with self.lock:
            for connection in list(self.sockets):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def answer(self, handler: Any, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        raise NotImplementedError

    def wait_for(self, condition: Any, timeout: float = PATIENCE) -> None:
        """Wait until `condition()` holds; it is looked at after each request and each change."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), f"not within {timeout} s"

    def respond(self, handler: Any, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        with self.changed:
            self.calls[path] += 1
            self.request_ids.append((path, handler.headers["X-Request-Id"]))
            self.submit_requests.append((path, handler.headers["X-Submit-Request-Id"]))
            self.changed.notify_all()
            if self.raw.get(path):
                raise RawAnswerError(self.raw[path].pop(0))
            refusals = self.refuse.get(path)
            refusal = refusals.pop(0) if refusals else None
        status, said = refusal or self.answer(handler, path, body)
        with self.lock:
            if self.mute:
                raise LostAnswerError
            if self.lose[path] > 0:
                self.lose[path] -= 1
                raise LostAnswerError
        return status, said


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", fake.port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.fake.lock:
            self.server.fake.sockets.add(self.connection)

    def finish(self) -> None:
        with self.server.fake.lock:
            self.server.fake.sockets.discard(self.connection)
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, said = self.server.fake.respond(self, self.path.split("?")[0], body)
        except LostAnswerError:
            self.close_connection = True
            return
        except RawAnswerError as raw:
            self.wfile.write(raw.args[0])
            self.close_connection = True
            return
        if said is None:
            return  # it was streamed
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        pass
