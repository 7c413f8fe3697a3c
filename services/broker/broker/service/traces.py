"""What becomes of jobs, as spans for OpenTelemetry: made of what was committed, after a job's end and off the hot path.

A job's whole trace is read from the store when it has ended. So its times are the committed ones, nothing has to be
kept meanwhile, and a restart of the broker in between leaves no gap. Only the submit is told at once: by then the call
is known, and with it the trace that the client is in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from broker.clock import Clock
from broker.context import REQUEST_ID, TRACEPARENT
from broker.domain.traces import Span, Value, parent_of, span_id_of, trace_id_of
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.logs import EventLog
from broker.service.told import class_name
from broker.store.changes import Step
from broker.store.records.history import History, Part
from broker.store.records.submission import SubmitOutcome

__all__ = ["Sink", "Traces", "spans_of", "trace_shown"]

log = EventLog(__name__)

MOST_WAITING = 10_000
"""Ended jobs that wait to be read; beyond it new ones are counted as dropped."""
READ_AT_A_TIME = 100
GATHER_SECONDS = 0.25
LAST_READ_SECONDS = 1.0
_NO_ERROR = (AttemptOutcome.COMPLETED, AttemptOutcome.RELEASED, AttemptOutcome.CANCELLED)


class Sink(Protocol):
    """Where spans go. Never waits."""

    def wants(self, trace_id: int) -> bool:
        """Whether the trace is among those that are sampled."""

    def add(self, spans: Iterable[Span]) -> None:
        """Send these; what there is no room for is counted and dropped. Thread-safe."""

    @property
    def has_room(self) -> bool:
        """Whether half of its queue is free: more may be made."""

    @property
    def counts(self) -> dict[str, int]:
        """Spans so far by result: sent, failed, dropped."""

    def close(self) -> None:
        """Send what is left, for a bounded time."""


def trace_shown(sink: Sink, job_id: str) -> str | None:
    """The id of a job's trace as traces are looked for by it; None when its job is not sampled."""
    trace_id = trace_id_of(job_id)
    return f"{trace_id:032x}" if sink.wants(trace_id) else None


class _Stored(NamedTuple):
    """Jobs that one call stored, at most READ_AT_A_TIME of them."""

    names: Sequence[str]
    of: int
    """How many the call stored in all."""
    began: float
    ended: float
    request_id: str
    link: tuple[int, int] | None


class Traces:
    """Lives on the event loop; fed with what commits changed."""

    def __init__(self, sink: Sink, read: Callable[[Sequence[str]], Awaitable[list[History]]], clock: Clock) -> None:
        self._sink = sink
        self._read = read
        self._clock = clock
        self._waiting: deque[str | _Stored] = deque()
        """Jobs that ended, and what calls stored."""
        self._jobs = 0
        """How many jobs that are."""
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.dropped = 0
        """Ended jobs that were not read: too many waited."""
        self._dropping = False

    @property
    def counts(self) -> dict[str, int]:
        """Spans by what became of them."""
        return self._sink.counts

    def take(self, steps: Iterable[Step]) -> None:
        """Jobs changed."""
        for step in steps:
            if step.new is not JobStatus.COMPLETED and step.new is not JobStatus.FAILED:
                continue
            if self._sink.wants(trace_id_of(step.job_id)):
                self._wait(step.job_id, 1)

    def submitted(self, outcome: SubmitOutcome, began: float) -> None:
        """A call stored these jobs."""
        if outcome.replayed or outcome.conflict:
            return
        now, call, link = self._clock.now(), REQUEST_ID.get(), parent_of(TRACEPARENT.get())
        names = [job.id for job in outcome.jobs if self._sink.wants(trace_id_of(job.id))]
        for first in range(0, len(names), READ_AT_A_TIME):
            some = names[first : first + READ_AT_A_TIME]
            self._wait(_Stored(some, len(outcome.jobs), began, now, call, link), len(some))

    async def run(self) -> None:
        """Read what has ended, again and again."""
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._news.clear()
            while self._waiting:
                if not self._sink.has_room:
                    await asyncio.sleep(GATHER_SECONDS)  # there may be room again
                    continue
                self._reading = asyncio.create_task(self._read_some(), name="traces: read")
                await asyncio.shield(self._reading)  # `finish` waits for it
            self._dropping = False

    async def finish(self) -> None:
        """Read what has ended by now, for a bounded time; the store is about to close."""
        try:
            async with asyncio.timeout(LAST_READ_SECONDS):
                if self._reading is not None:
                    await self._reading
                while self._waiting and self._sink.has_room:
                    await self._read_some()
        except TimeoutError:
            pass
        self._drop(self._jobs)

    def _wait(self, news: str | _Stored, jobs: int) -> None:
        if self._jobs + jobs > MOST_WAITING:
            self._drop(jobs)
            return
        self._waiting.append(news)
        self._jobs += jobs
        self._news.set()

    async def _read_some(self) -> None:
        names: list[str] = []
        stored: list[_Stored] = []
        count = 0
        while self._waiting and count < READ_AT_A_TIME:
            news = self._waiting.popleft()
            if isinstance(news, str):
                names.append(news)
                count += 1
            else:
                stored.append(news)
                count += len(news.names)
        self._jobs -= count
        try:
            histories = await self._read(names) if names else []
            await asyncio.to_thread(self._hand_over, stored, histories)
        except Exception as error:  # whatever it is, jobs go on without their traces
            log.crash("traces cannot be read", error, jobs=len(names))
            self._drop(len(names))
            return
        self._drop(len(names) - len(histories))  # deleted already

    def _hand_over(self, stored: Sequence[_Stored], histories: Sequence[History]) -> None:
        self._sink.add(span for call in stored for span in _submits(call))
        self._sink.add(span for history in histories for span in spans_of(history))

    def _drop(self, count: int) -> None:
        if not count:
            return
        self.dropped += count
        if not self._dropping:
            self._dropping = True
            log.warning("traces are dropped", jobs=count, note="more jobs end than can be told to the collector")


def _submits(call: _Stored) -> Iterable[Span]:
    for job_id in call.names:
        facts: dict[str, Value] = {"sandrun.job.id": job_id, "sandrun.jobs": call.of}
        if call.request_id:
            facts["sandrun.request.id"] = call.request_id
        own = (trace_id_of(job_id), span_id_of(job_id, "submit"), span_id_of(job_id, "job"))
        yield Span("submit", *own, call.began, call.ended, facts, link=call.link)


def spans_of(history: History) -> list[Span]:
    """The spans of a job that has ended: `job`, and for each claim `queue` and `attempt`."""
    job_id, trace_id = history.id, trace_id_of(history.id)
    root = span_id_of(job_id, "job")
    ended = history.completed_at
    spans = [Span("job", trace_id, root, None, history.created_at, ended, _facts(history), _failure(history.failure))]
    since, fence = history.created_at, 0
    for part in history.parts:
        fence = part.fence
        waited = {"sandrun.queue.seconds": round(part.claimed_at - since, 6), "sandrun.attempt.fence": fence}
        own = (trace_id, span_id_of(job_id, "queue", fence), root)
        spans.append(Span("queue", *own, since, part.claimed_at, waited))
        since = ended if part.ended_at is None else part.ended_at
        spans.append(_attempt(history, part, since))
    if history.ended_pending and ended > since:
        own = (trace_id, span_id_of(job_id, "queue", fence + 1), root)
        spans.append(Span("queue", *own, since, ended, {"sandrun.queue.seconds": round(ended - since, 6)}))
    return spans


def _attempt(history: History, part: Part, ended: float) -> Span:
    job_id = history.id
    facts: dict[str, Value | None] = {
        "sandrun.job.id": job_id,
        "sandrun.attempt.number": part.number,
        "sandrun.attempt.fence": part.fence,
        "sandrun.attempt.outcome": part.outcome,
        "sandrun.attempt.failure": part.failure,
        "sandrun.node.id": part.node_id,
        "sandrun.exit_code": part.exit_code,
        "sandrun.wall_seconds": part.wall_seconds,
        "sandrun.cpu_seconds": part.cpu_seconds,
        "sandrun.memory_peak_bytes": part.memory_peak_bytes,
    }
    own = (trace_id_of(job_id), span_id_of(job_id, "attempt", part.fence), span_id_of(job_id, "job"))
    failed = None if part.outcome in _NO_ERROR else _failure(part.failure or part.outcome)
    marks = () if part.started_at is None else (("started", part.started_at),)
    return Span("attempt", *own, part.claimed_at, ended, _known(facts), failed, marks)


def _facts(history: History) -> dict[str, Value]:
    attempts = len(history.parts)
    return _known(
        {
            "sandrun.job.id": history.id,
            "sandrun.job.interpreter": history.interpreter,
            "sandrun.job.class": class_name(history.class_key),
            "sandrun.job.priority": history.priority,
            "sandrun.job.status": history.status,
            "sandrun.job.failure": history.failure,
            "sandrun.job.cached": history.cached or None,
            "sandrun.job.attempts": attempts,
            "sandrun.exit_code": history.exit_code,
            "sandrun.queue.seconds": round(history.parts[0].claimed_at - history.created_at, 6) if attempts else None,
            "sandrun.request.id": history.request_id,
        }
    )


def _known(facts: dict[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in facts.items() if value is not None}


def _failure(word: str | None) -> str | None:
    """What makes a span an error: that somebody cancelled does not."""
    return None if word == Failure.CANCELLED else word
