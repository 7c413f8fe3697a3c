"""What the agent counts for Prometheus. Nothing counted here has a label that the broker or a job can choose.

The counters are prometheus-client's own, in a registry of this agent: a node runs some tens of jobs a second at most.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

PREFIX = "sandrun_node_"
CALLS = ("register", "heartbeat", "start", "progress", "complete", "complete/batch", "release")
OUTCOMES = (
    "completed", "exit", "signal", "timeout", "cpu", "memory", "output", "disk", "processes", "cancelled", "platform",
    "released", "dropped",
)  # fmt: skip
ANSWERS = ("ok", "duplicate", "stale_lease", "unknown_job", "refused", "session_ended", "unknown_node")
OTHER = "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RUN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Metrics:
    """The counters of one agent. Thread-safe."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the text format has no place for them but as further series
        self.registry = CollectorRegistry(auto_describe=False)
        self.sessions = self._counter("sessions", "Registrations that the broker took.")
        self.sandrun_failures = self._counter("sandrun_failures", "How often sandrun went away: a crash or a hang.")
        self.jobs_claimed = self._counter("jobs_claimed", "Jobs that claims brought.")
        self._claims = self._counter("claims", "Claims by result.", "result", ("jobs", "empty", "failed"))
        self._ended = self._counter("attempts_ended", "Attempts by how they ended here.", "outcome", OUTCOMES)
        self._answers = self._counter(
            "deliveries", "Results by what the broker said to them.", "answer", (*ANSWERS, OTHER)
        )
        self.delivery_retries = self._counter("delivery_retries", "Results put off because no broker answered.")
        self._failed_calls = self._counter("broker_call_failures", "Calls without a good answer.", "call", CALLS)
        self._calls = Histogram(
            f"{PREFIX}broker_call_seconds",
            "How long the broker took to answer, claims and the link excepted.",
            ("call",),
            registry=self.registry,
            buckets=SECONDS,
        )
        for call in CALLS:
            self._calls.labels(call)
        self.runs = Histogram(
            f"{PREFIX}run_seconds",
            "From an attempt's getting a slot to its giving it back.",
            registry=self.registry,
            buckets=RUN_SECONDS,
        )

    def claimed(self, count: int) -> None:
        """A claim was answered with so many jobs."""
        self._claims.labels("jobs" if count else "empty").inc()
        self.jobs_claimed.inc(count)

    def claim_failed(self) -> None:
        """A claim got no good answer."""
        self._claims.labels("failed").inc()

    def ended(self, outcome: str) -> None:
        """An attempt ended: `completed`, its failure, `released` or `dropped`."""
        self._ended.labels(outcome if outcome in OUTCOMES else OTHER).inc()

    def delivered(self, answer: str) -> None:
        """A result needs no more delivering; the broker's word on it."""
        self._answers.labels(answer if answer in ANSWERS else OTHER).inc()

    @contextmanager
    def timed(self, path: str) -> Iterator[None]:
        """A call to the broker; one that raises is a failed one."""
        call = path.removeprefix("/")
        if call not in CALLS:
            yield  # a claim: what it takes is a matter of what there is to do
            return
        began = time.monotonic()
        try:
            yield
        except Exception:
            self._failed_calls.labels(call).inc()
            raise
        finally:
            self._calls.labels(call).observe(time.monotonic() - began)

    def _counter(self, name: str, text: str, label: str = "", values: tuple[str, ...] = ()) -> Counter:
        labels = (label,) if label else ()
        counter = Counter(PREFIX + name, text, labels, registry=self.registry)
        for value in values:
            counter.labels(value)  # there from the start, at 0
        return counter
