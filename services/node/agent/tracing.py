"""What this node does with an attempt, as spans below the broker's of that attempt: `run` and `deliver`.

Times are this node's own: where its clock is wrong, the spans lie beside the broker's by as much.
"""

import time
from collections.abc import Iterable
from typing import Protocol

from agent.attempts import Attempt
from agent.model import Key
from agent.spool import Entry
from agent.traces import Span, Value, span_id_of, trace_id_of

TAKEN = ("ok", "duplicate")
WELL = ("completed", "cancelled", "released")


class Sink(Protocol):
    """Where spans go. Never waits."""

    def wants(self, trace_id: int) -> bool:
        """Whether the trace is among those that are sampled."""

    def add(self, spans: Iterable[Span]) -> None:
        """Send these soon. Thread-safe."""

    @property
    def counts(self) -> dict[str, int]:
        """Spans so far by result: sent, failed, dropped."""

    def close(self) -> None:
        """Send what is left, for a bounded time."""


def trace_shown(sink: Sink, job_id: str) -> str | None:
    """The id of a job's trace as traces are looked for by it; None when its job is not sampled."""
    trace_id = trace_id_of(job_id)
    return f"{trace_id:032x}" if sink.wants(trace_id) else None


class Tracing:
    """Told what ended. Without a sink it does nothing. Thread-safe."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink

    def ran(self, attempt: Attempt, outcome: str, exit_code: int | None = None) -> None:
        """The attempt is settled; one that never had a slot has no span."""
        if self._sink is None or not attempt.began_at:
            return
        moments = (("submitted", attempt.submitted_at), ("ended", attempt.ended_at))
        marks = tuple((name, at) for name, at in moments if at)
        facts: dict[str, Value] = {"sandrun.run.outcome": outcome}
        if exit_code is not None:
            facts["sandrun.exit_code"] = exit_code
        self._tell(attempt.key, "run", attempt.began_at, facts, None if outcome in WELL else outcome, marks)

    def delivered(self, entry: Entry, answer: str, tries: int) -> None:
        """The broker needs to hear no more of this result."""
        if self._sink is not None:
            facts: dict[str, Value] = {"sandrun.deliver.answer": answer, "sandrun.deliver.tries": tries}
            self._tell(entry.key, "deliver", entry.since, facts, None if answer in TAKEN else answer)

    def _tell(
        self,
        key: Key,
        name: str,
        began: float,
        facts: dict[str, Value],
        failure: str | None,
        marks: tuple[tuple[str, float], ...] = (),
    ) -> None:
        trace_id = trace_id_of(key.job_id)
        if self._sink is None or not self._sink.wants(trace_id):
            return
        facts = {"sandrun.job.id": key.job_id, "sandrun.attempt.fence": key.fence, **facts}
        ids = (span_id_of(key.job_id, name, key.fence), span_id_of(key.job_id, "attempt", key.fence))
        self._sink.add([Span(name, trace_id, *ids, began, time.time(), facts, failure, marks)])
