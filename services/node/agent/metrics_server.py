"""The port on which Prometheus reads a node's metrics: a few short answers at a time, and nothing else.

It is opened when NODE_METRICS_LISTEN says where. Other nodes may reach it on a shared network: every connection has a
time limit as a whole, and there are few: prometheus-client's own server would start a thread for each.
"""

import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from agent.logs import EventLog
from agent.threads import Crash

LOG = EventLog("agent.metrics")

MOST_CONNECTIONS = 4
CONNECTION_SECONDS = 5.0
BACKLOG = 8


class MetricsServer(ThreadingMixIn, TCPServer):
    """Answers GET /metrics."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = BACKLOG
    block_on_close = False

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """OSError when the address cannot be had."""
        self.registry = registry
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection came: a thread for it, or the end of it."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, within its time."""
        timer = threading.Timer(CONNECTION_SECONDS, _cut, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away, or was cut off, is not worth a line in the log."""


def serve(listen: str, registry: CollectorRegistry, crash: Crash) -> MetricsServer | None:
    """Start it in a thread. A node whose port is taken runs jobs all the same, and says so in its log."""
    host, _, port = listen.rpartition(":")
    try:
        server = MetricsServer(host.removeprefix("[").removesuffix("]"), int(port), registry)
    except OSError as error:
        LOG.error("metrics_unavailable", listen=listen, error=str(error))
        return None
    crash.spawn("metrics", server.serve_forever)
    return server


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, as HTTP/1.0 has it."""

    server: MetricsServer
    timeout = CONNECTION_SECONDS
    server_version = "sandrun-node"
    sys_version = ""

    def do_GET(self) -> None:
        """The metrics, at /metrics."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "There is /metrics here, and nothing else.")
            return
        encode, media_type = choose_encoder(self.headers.get("Accept") or "")
        body = encode(self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not events."""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
