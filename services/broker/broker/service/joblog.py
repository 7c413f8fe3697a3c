"""What happens to jobs, in the log. What is ordinary (claimed, started, ended) is written at debug only and summed up
once a minute: at thousands a second a line each would cost more than the work. What went wrong is written one by one,
at a bounded rate: a node that is lost with a thousand jobs is one event, not a thousand. So is a submit whose caller
gave it an id: he may look for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from broker.context import named
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.logs import EventLog
from broker.store.changes import Step
from broker.store.records.submission import SubmittedJob

__all__ = ["JobLog"]

log = EventLog("broker.jobs")

SUM_SECONDS = 60.0
MOST_A_SECOND = 20
"""Lines about what went wrong; the rest is counted in the sum as `unwritten`. As many about submits."""
_SUBMITTED = (None, JobStatus.PENDING)
"""Written by `submitted`, which knows the request."""
_WRONG = (AttemptOutcome.NODE_LOST, AttemptOutcome.PLATFORM, AttemptOutcome.OVERDUE)
_WRONG_ENDS = (Failure.REJECTED, Failure.EXPIRED)
_AGAIN = {
    AttemptOutcome.NODE_LOST: "job was rescued: its node was lost",
    AttemptOutcome.PLATFORM: "job runs again: its executor failed",
    AttemptOutcome.OVERDUE: "job was taken back: its node kept it too long",
    AttemptOutcome.RELEASED: "job was released",
    AttemptOutcome.FAILED: "job runs again: retry_on asks for it",
}


class _Ration:
    """MOST_A_SECOND lines."""

    def __init__(self) -> None:
        self._second = 0
        self._written = 0

    def takes(self, now: float) -> bool:
        """Whether one more line may be written."""
        second = int(now)
        if second != self._second:
            self._second, self._written = second, 0
        self._written += 1
        return self._written <= MOST_A_SECOND


class JobLog:
    """Fed with what commits changed. `session_of` a node: the number of its present session."""

    def __init__(self, session_of: Callable[[str], int | None]) -> None:
        self._session_of = session_of
        self._sums: Counter[str] = Counter()
        self._summed_at: float | None = None
        self._wrongs = _Ration()
        self._submits = _Ration()

    def take(self, steps: Iterable[Step], now: float) -> None:
        """Write or count changes that were committed by `now`."""
        chatty = log.is_chatty
        sums = self._sums
        for step in steps:
            if step.old is None:
                sums["submitted"] += 1
            if step.new is JobStatus.COMPLETED:
                sums["completed"] += 1
            elif step.new is JobStatus.FAILED:
                sums["failed"] += 1
            elif step.outcome is not None:
                sums["again"] += 1
            if step.outcome in _WRONG or step.failure in _WRONG_ENDS:
                self._write_wrong(step, now)
            elif chatty and (step.old, step.new) != _SUBMITTED:
                log.debug(self._event(step), **self._facts(step))

    def submitted(self, jobs: Sequence[SubmittedJob], owner: str | None, now: float) -> None:
        """Write what the present call has stored: each job at debug, a line for the call if its caller has named it."""
        if log.is_chatty:
            for job in jobs:
                log.debug("job was submitted", job=job.id, key=owner, cached=job.cached)
        elif jobs and named() and self._submits.takes(now):
            more = {"jobs": len(jobs)} if len(jobs) > 1 else {}
            log.info("job was submitted", job=jobs[0].id, key=owner, cached=jobs[0].cached, **more)

    def tick(self, now: float) -> None:
        """Sum up what there was since the last sum, if its time has come."""
        if self._summed_at is None:
            self._summed_at = now
        seconds = now - self._summed_at
        if seconds < SUM_SECONDS:
            return
        self._summed_at = now
        sums, self._sums = self._sums, Counter()
        if sums:
            log.info("jobs", seconds=round(seconds), **sums)

    def _write_wrong(self, step: Step, now: float) -> None:
        if not self._wrongs.takes(now):
            self._sums["unwritten"] += 1
        elif step.new is JobStatus.PENDING or step.failure in _WRONG_ENDS:
            log.info(self._event(step), **self._facts(step))
        else:
            log.warning(self._event(step), **self._facts(step))

    def _event(self, step: Step) -> str:
        if step.new is JobStatus.PENDING:
            return "job is pending" if step.outcome is None else _AGAIN.get(step.outcome, "job runs again")
        if step.new is JobStatus.ASSIGNED:
            return "job was claimed"
        return "job started" if step.new is JobStatus.RUNNING else "job ended"

    def _facts(self, step: Step) -> dict[str, object]:
        facts: dict[str, object] = {"job": step.job_id}
        if step.node_id is not None:
            facts |= {"attempt": step.attempt, "fence": step.fence, "node": step.node_id}
            facts["session"] = self._session_of(step.node_id)
        if step.new in (JobStatus.COMPLETED, JobStatus.FAILED):
            facts["status"] = step.new.value
        facts |= {"failure": step.failure.value} if step.failure else {}
        facts |= {"outcome": step.outcome.value} if step.outcome else {}
        return facts | ({} if step.seconds is None else {"seconds": round(step.seconds, 3)})
