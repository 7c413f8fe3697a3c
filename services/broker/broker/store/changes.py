"""What a committed operation changed, as far as waiting calls and counters care.

The store hands these to its subscriber in commit order, on the event loop, before the callers get their answers.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from broker.domain.fairshare import Flow
from broker.domain.words import AttemptOutcome, Failure, JobStatus

__all__ = ["Changes", "Ended", "Owned", "Step"]


class Step(NamedTuple):
    """A job's going from one status to another."""

    job_id: str
    old: JobStatus | None
    """None: it is new."""
    new: JobStatus
    class_key: str
    """As it was submitted, whatever nodes it is barred from now."""
    priority: int
    seconds: float | None = None
    """Since it was submitted: when it is handed out for the first time, and when it ends."""
    failure: Failure | None = None
    owner: str | None = None
    whose: str | None = None
    """Whose share it counts against: its owner, without keys its submitter."""
    node_id: str | None = None
    """Who gets it, holds it or held it; None when no attempt is concerned."""
    fence: int = 0
    attempt: int = 0
    outcome: AttemptOutcome | None = None
    """How the attempt ended, when one did."""


class Ended(NamedTuple):
    """The end of an attempt, with what its node measured."""

    outcome: AttemptOutcome
    wall_seconds: float | None = None
    cpu_seconds: float | None = None


class Owned(NamedTuple):
    """A change of what an owner has in the broker, or used today."""

    owner: str
    unfinished: int = 0
    stored_bytes: int = 0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class Changes:
    """The effects of one operation; worthless until its group is committed."""

    ready: dict[str, int] = field(default_factory=dict)
    """Class key -> jobs that became claimable."""
    best: dict[str, float] = field(default_factory=dict)
    """Class key -> the lowest rank among those."""
    bounds: dict[str, float] = field(default_factory=dict)
    """Class key -> a rank below which nothing is claimable, as a claim found out; applied after `best`."""
    drained: set[str] = field(default_factory=set)
    """Classes that a claim found empty, or left so; applied after `ready`."""
    finished: list[str] = field(default_factory=list)
    """Ids of jobs that ended."""
    held: dict[str, int] = field(default_factory=dict)
    """Node id -> change in the number of attempts that it holds."""
    steps: list[Step] = field(default_factory=list)
    """Every job's change of status, in order; deletions are counted in `totals` alone."""
    ended: list[Ended] = field(default_factory=list)
    """Every attempt that ended."""
    totals: dict[JobStatus, int] = field(default_factory=dict)
    """Status -> change in the number of jobs."""
    flows: dict[Flow, int] = field(default_factory=dict)
    """Flow -> change in its number of pending jobs; those of a submit are counted when they get their rank."""
    granted: list[tuple[str, float, int]] = field(default_factory=list)
    """(class key as submitted, rank, priority) of each job that was handed out."""
    owned: list["Owned"] = field(default_factory=list)
    """What owners have more or less of."""
    released: set[str] = field(default_factory=set)
    """SHA-256 of contents that a deleted row referred to; others may still do."""
    due: float | None = None
    """The earliest start time of a waiting job that this operation left."""
    due_is_earliest: bool = False
    """`due` is the earliest of all, not only of this operation's."""

    def waits_until(self, moment: float) -> None:
        """Note that a job waits for a moment."""
        self.due = moment if self.due is None else min(self.due, moment)

    def claimable(self, class_key: str, rank: float) -> None:
        """Count a job that became claimable."""
        self.ready[class_key] = self.ready.get(class_key, 0) + 1
        self.best[class_key] = min(rank, self.best.get(class_key, rank))

    def holds(self, node_id: str, change: int) -> None:
        """Count attempts that a node got or lost."""
        self.held[node_id] = self.held.get(node_id, 0) + change

    def pending(self, flow: Flow, change: int) -> None:
        """Count jobs of a flow that became pending or are so no more."""
        self.flows[flow] = self.flows.get(flow, 0) + change

    def stepped(self, step: Step) -> None:
        """Note a job's change of status."""
        self.steps.append(step)
        self.moved(step.old, step.new)

    def moved(self, old: JobStatus | None, new: JobStatus | None) -> None:
        """Count a change of status; None stands for not being there."""
        if old is not None:
            self.totals[old] = self.totals.get(old, 0) - 1
        if new is not None:
            self.totals[new] = self.totals.get(new, 0) + 1
