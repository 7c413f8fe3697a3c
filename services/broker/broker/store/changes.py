"""What a committed operation changed, as far as waiting calls and counters care.

The store hands these to its subscriber in commit order, on the event loop, before the callers get their answers.
"""

from collections import Counter
from dataclasses import dataclass, field

from broker.domain.words import JobStatus

__all__ = ["Changes"]


@dataclass(slots=True)
class Changes:
    """The effects of one operation; worthless until its group is committed."""

    ready: Counter[str] = field(default_factory=Counter)
    """Class key -> jobs that became claimable."""
    drained: set[str] = field(default_factory=set)
    """Classes that a claim found empty, or left so; applied after `ready`."""
    finished: list[str] = field(default_factory=list)
    """Ids of jobs that ended."""
    held: Counter[str] = field(default_factory=Counter)
    """Node id -> change in the number of attempts that it holds."""
    totals: Counter[JobStatus] = field(default_factory=Counter)
    """Status -> change in the number of jobs."""
    due: float | None = None
    """The earliest start time of a waiting job that this operation left."""
    due_is_earliest: bool = False
    """`due` is the earliest of all, not only of this operation's."""

    def waits_until(self, moment: float) -> None:
        """Note that a job waits for a moment."""
        self.due = moment if self.due is None else min(self.due, moment)

    def moved(self, old: JobStatus | None, new: JobStatus | None) -> None:
        """Count a job's change of status; None stands for not being there."""
        if old is not None:
            self.totals[old] -= 1
        if new is not None:
            self.totals[new] += 1
