"""Sends spans to a collector, by OTLP over HTTP, from a thread of the OpenTelemetry SDK.

This is the only module that imports opentelemetry, and it is imported only when OTEL_EXPORTER_OTLP_ENDPOINT is set. The
SDK batches, encodes, retries and reads its OTEL_* variables; added here are counting, an end in bounded time, and
silence: the SDK's own log lines may quote OTEL_EXPORTER_OTLP_HEADERS, which can hold a secret.
"""

import logging
import os
import threading
from collections.abc import Iterable, Sequence

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from broker.domain.traces import Span, spread
from broker.logs import EventLog

__all__ = ["Telemetry"]

log = EventLog(__name__)

MOST_WAITING = 2048
"""Spans, as the SDK has it; OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""
LAST_SECONDS = 2.0
"""How long the end may take: what no collector took by then is lost."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Telemetry:
    """Takes spans from any thread and never waits. `name`: of the service, unless a variable gives one.

    ValueError when an OTEL_* variable cannot be used.
    """

    def __init__(self, name: str, version: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        provider = TracerProvider(resource=_resource(name, version), shutdown_on_exit=False)
        self._sampler, self._resource = provider.sampler, provider.resource
        self._scope = InstrumentationScope("sandrun", version)
        self._most = int(os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE) or MOST_WAITING)
        self._lock = threading.Lock()
        self._waiting = 0
        self._sent = self._failed = self._dropped = 0
        self._dropping = False
        self._processor = BatchSpanProcessor(_Counted(self), max_queue_size=self._most)

    def wants(self, trace_id: int) -> bool:
        """Whether the trace is among those that are sampled: the same for every process that has the same settings."""
        return self._sampler.should_sample(None, spread(trace_id), "").decision is Decision.RECORD_AND_SAMPLE

    @property
    def has_room(self) -> bool:
        """Whether half of its queue is free: more may be made."""
        return self._waiting <= self._most // 2

    @property
    def counts(self) -> dict[str, int]:
        """Spans so far by what became of them."""
        return {"sent": self._sent, "failed": self._failed, "dropped": self._dropped}

    def add(self, spans: Iterable[Span]) -> None:
        """Send these soon; what there is no room for is counted and dropped."""
        for span in spans:
            with self._lock:
                full = self._waiting >= self._most
                if full:
                    self._dropped += 1
                    first, self._dropping = not self._dropping, True
                else:
                    self._waiting += 1
            if not full:
                self._processor.on_end(self._made(span))
            elif first:
                log.warning("spans are dropped", note="the collector does not take them as fast as they come")

    def taken(self, count: int) -> None:
        """So many are on their way."""
        with self._lock:
            self._waiting -= count
            self._dropping = self._dropping and self._waiting > self._most // 2

    def told(self, count: int, *, well: bool, answer: int | None) -> None:
        """The collector took them, or did not. `answer`: its HTTP status; None: there was none."""
        if well:
            if self._failed and not self._sent_last:
                log.info("the collector takes traces again", failed=self._failed)
            self._sent += count
        else:
            if self._sent_last:
                log.warning("the collector does not take traces", status=answer, note="jobs are not held up by it")
            self._failed += count
        self._sent_last = well

    _sent_last = True

    def close(self) -> None:
        """Send what waits, within LAST_SECONDS."""
        last = threading.Thread(target=self._processor.shutdown, name="traces-last", daemon=True)
        last.start()
        last.join(LAST_SECONDS)
        if self._waiting:
            log.warning("traces were left behind", spans=self._waiting)

    def _made(self, span: Span) -> ReadableSpan:
        link = span.link
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id),
            parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
            resource=self._resource,
            attributes=span.facts,
            events=[Event(name, timestamp=_nanoseconds(at)) for name, at in span.marks],
            links=() if link is None else (Link(SpanContext(*link, is_remote=True)),),
            status=Status(StatusCode.UNSET) if span.failure is None else Status(StatusCode.ERROR, span.failure),
            start_time=_nanoseconds(span.began),
            end_time=_nanoseconds(max(span.began, span.ended)),
            instrumentation_scope=self._scope,
        )


class _Counted(SpanExporter):
    """The SDK's exporter, whose results are counted."""

    def __init__(self, telemetry: Telemetry) -> None:
        session = requests.Session()
        session.hooks["response"].append(self._answered)
        self._exporter = OTLPSpanExporter(session=session)
        self._telemetry = telemetry
        self._answer: int | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the SDK's thread alone."""
        self._telemetry.taken(len(spans))
        self._answer = None
        result = self._exporter.export(spans)
        self._telemetry.told(len(spans), well=result is SpanExportResult.SUCCESS, answer=self._answer)
        return result

    def _answered(self, response: requests.Response, *_: object, **__: object) -> None:
        self._answer = response.status_code

    def shutdown(self) -> None:
        """End a pause between two tries."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _resource(name: str, version: str) -> Resource:
    said = Resource.create()
    unnamed = str(said.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    own = {SERVICE_VERSION: version} | ({SERVICE_NAME: name} if unnamed else {})
    return said.merge(Resource(own))


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
