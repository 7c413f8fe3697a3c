"""A collector of traces: takes OTLP over HTTP as a real one does, and shows what came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

WAIT_SECONDS = 60.0


class Seen(NamedTuple):
    """A span as it came. Ids in hex; `parent` and `failure` are empty where there is none."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began: float
    ended: float
    facts: dict[str, Any]
    failure: str
    marks: dict[str, float]
    links: list[tuple[str, str]]


class Collector:
    """Answers with `status`; while `held` is set it answers nothing. Leaving the block ends it."""

    def __init__(self) -> None:
        self.status = 200
        self.changed = threading.Condition()
        self.held = False
        self.calls: list[Mapping[str, str]] = []
        """The headers of each call."""
        self.spans: list[Seen] = []
        self.raw = b""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"collector": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What has a process send its traces here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def let_go(self) -> None:
        """Answer what was held."""
        with self.changed:
            self.held = False
            self.changed.notify_all()

    def wait(self, condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> None:
        """Until it holds; AssertionError with what there is when the time is up."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), self.tree()

    def of(self, job_id: str) -> list[Seen]:
        """The spans of a job's trace, in the order of their begin; a parent is before its children."""
        found = [span for span in self.spans if span.trace == job_id.replace("-", "")]
        return sorted(found, key=lambda span: (span.began, bool(span.parent), -span.ended))

    def names(self, job_id: str) -> list[str]:
        """The names of these, sorted."""
        return sorted(span.name for span in self.of(job_id))

    def tree(self) -> str:
        """All traces as text: below each span its children."""
        roots = sorted((span for span in self.spans if not span.parent), key=lambda span: span.began)
        return "\n".join(line for root in roots for line in self._lines(root, root.began, 0))

    def _lines(self, span: Seen, since: float, depth: int) -> list[str]:
        times = f"{(span.began - since) * 1000:8.1f} ms {(span.ended - span.began) * 1000:8.1f} ms"
        facts = " ".join(f"{name.removeprefix('sandrun.')}={value}" for name, value in span.facts.items())
        lines = [f"{times}  {'  ' * depth}{span.name} ({span.service}) {facts} {span.failure}".rstrip()]
        children = [each for each in self.spans if (each.trace, each.parent) == (span.trace, span.id)]
        for child in sorted(children, key=lambda each: (each.began, each.ended)):
            lines += self._lines(child, since, depth + 1)
        return lines

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """One call; the status of the answer."""
        with self.changed:
            self.calls.append(headers)
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.held, 300)
            if self.status == 200:
                self.raw += body
                self.spans += _read(body)
            self.changed.notify_all()
            return self.status


class _Handler(BaseHTTPRequestHandler):
    collector: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        status = self.collector.take(dict(self.headers.items()), body) if good else 404
        try:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:
            pass  # it has not waited

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def _read(body: bytes) -> list[Seen]:
    seen = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            seen += [_span(str(about["service.name"]), span) for span in scope.spans]
    return seen


def _span(service: str, span: trace_pb2.Span) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        {pair.key: _value(pair.value) for pair in span.attributes},
        span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else "",
        {event.name: event.time_unix_nano / 1e9 for event in span.events},
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
