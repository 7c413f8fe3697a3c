"""What `GET /metrics` counts: plain numbers, fed with what commits changed, so that they equal what was promised.

Counters begin at 0 with each process, as Prometheus expects. Nothing here has a key that a caller can choose.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from broker.domain.histogram import CALL_SECONDS, JOB_SECONDS, Histogram
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.store.changes import Ended, Step

__all__ = ["Meter"]


class Meter:
    """Lives on the event loop."""

    def __init__(self) -> None:
        self.submitted = 0
        self.copied = 0
        """Jobs that got an identical job's result without running."""
        self.granted = 0
        """Attempts that nodes got."""
        self.failures: dict[Failure, int] = dict.fromkeys(Failure, 0)
        self.completed = 0
        self.attempts: dict[AttemptOutcome, int] = dict.fromkeys(AttemptOutcome, 0)
        self.cpu_seconds = 0.0
        """Processor time of programs, as nodes measured it."""
        self.waits = Histogram(JOB_SECONDS)
        self.runs = Histogram(JOB_SECONDS)
        self.lives = Histogram(JOB_SECONDS)
        """From submit to end."""
        self.claims = Histogram(CALL_SECONDS)
        """How long a claim that asked the store took to be served."""
        self.lags = Histogram(CALL_SECONDS)
        """How late the event loop was when it looked at its clock."""
        self.answers: Counter[tuple[str, int]] = Counter()
        """(call, HTTP status); the call is a route's method and path as declared, or empty."""
        self.connections: Callable[[], int] = lambda: 0
        """Open connections; the server says."""

    def stepped(self, steps: Iterable[Step]) -> None:
        """Count changes of jobs that were committed."""
        for _, old, new, _, _, seconds, failure, *_ in steps:
            if old is None:
                self.submitted += 1
            if new is JobStatus.ASSIGNED:
                self.granted += 1
                if seconds is not None:
                    self.waits.add(seconds)
                continue
            if new is JobStatus.COMPLETED:
                self.completed += 1
                self.copied += old is None or old is JobStatus.PENDING
            elif failure is not None:
                self.failures[failure] += 1
            else:
                continue
            if seconds is not None:
                self.lives.add(seconds)

    def ended(self, ended: Iterable[Ended]) -> None:
        """Count ends of attempts that were committed."""
        for outcome, wall_seconds, cpu_seconds in ended:
            self.attempts[outcome] += 1
            if wall_seconds is not None:
                self.runs.add(wall_seconds)
            if cpu_seconds is not None:
                self.cpu_seconds += cpu_seconds
