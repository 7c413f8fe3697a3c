"""Who is next: priority, fair shares between submitters and ageing, in one number that is fixed at submit.

Start-time fair queueing with a clock per class. A job's tag is the clock of its class plus the number of jobs that its
submitter has pending already, so that the jobs of one submitter lie one place apart and a newcomer's first lies at the
very front: 10,000 jobs of one delay another's single job by a claim or two. A class's clock follows the tags of the
jobs that are handed out from it. Classes have clocks of their own because they are served at speeds of their own, or
not at all: with one clock for all, a class that no node can run would hold back everybody else's.

`rank = tag - priority * HEAD_START`: a higher priority is a head start. Because the clocks keep moving, a job of low
priority is overtaken by a bounded number of later jobs only: that is the ageing, and it costs no update.
"""

from dataclasses import dataclass, field
from itertools import islice

__all__ = ["HEAD_START", "FairShare", "Flow"]

HEAD_START = 1000.0
"""Places in the order that one step of priority is worth; also how many claims make a job age by one step."""
MAX_FLOWS = 100_000
"""Flows of one class that are told apart; beyond it their order of arrival within the class is forgotten."""
COUNTED_FLOWS = 1_000
"""Flows of a class that `ahead` looks at."""
MAX_CLASSES = 10_000
"""Classes with clocks; beyond it all begin level again."""

Flow = tuple[str | None, int]
"""A submitter and a priority."""


@dataclass(slots=True)
class _Class:
    """A class with pending jobs: its clock, and the tag after each flow's last job."""

    clock: float
    after: dict[Flow, float] = field(default_factory=dict)


class FairShare:
    """Kept on the event loop, fed with every change of the queue. All in memory; `restore` brings it back."""

    def __init__(self) -> None:
        self._classes: dict[str, _Class] = {}
        self._pending: dict[Flow, int] = {}
        self._latest = 0.0
        self.storing = 0
        """Jobs that have their rank and are not stored yet."""

    @property
    def active_flows(self) -> int:
        """How many flows have pending jobs."""
        return len(self._pending)

    def clock(self, class_key: str) -> float:
        """The tag that a newcomer's first job of this class would get."""
        known = self._classes.get(class_key)
        return known.clock if known else self._latest

    def stamp(self, class_key: str, flow: Flow, places: int = 1) -> float:
        """The rank of a new job, which counts as pending from now; lower ranks are claimed first.

        `places`: how often it is going to run. Its flow's next job lies so many places behind it.
        """
        if len(self._classes) >= MAX_CLASSES:
            self._classes.clear()
        of_class = self._classes.setdefault(class_key, _Class(self._latest))
        tag = max(of_class.clock + self._pending.get(flow, 0), of_class.after.get(flow, 0.0))
        if len(of_class.after) >= MAX_FLOWS:
            of_class.after.clear()
        of_class.after[flow] = tag + places
        self.count(flow, 1)
        return tag - flow[1] * HEAD_START

    def ahead(self, class_key: str, rank: float) -> float:
        """About how many jobs of a class come before a rank: what its flows' last tags tell. Where nobody can count."""
        of_class = self._classes.get(class_key)
        if of_class is None:
            return 0.0
        total = 0.0
        for flow, after in islice(of_class.after.items(), COUNTED_FLOWS):
            last = min(after, rank + flow[1] * HEAD_START)
            total += min(max(0.0, last - of_class.clock), self._pending.get(flow, 0))
        return total * max(1.0, len(of_class.after) / COUNTED_FLOWS)

    def pending(self, whose: str) -> int:
        """How many jobs a submitter has pending, of all priorities."""
        return sum(self._pending.get((whose, priority), 0) for priority in range(10))

    def count(self, flow: Flow, change: int) -> None:
        """Jobs of a flow became pending, or are so no more."""
        now = self._pending.get(flow, 0) + change
        if now > 0:
            self._pending[flow] = now
        else:
            self._pending.pop(flow, None)

    def claimed(self, class_key: str, rank: float, priority: int) -> None:
        """A job was handed out: its class's clock is no earlier than its tag, and a share of one claim later.

        The share keeps the clock moving when every job comes from a new submitter, so that those still age who wait.
        """
        of_class = self._classes.setdefault(class_key, _Class(self._latest))
        tag = rank + priority * HEAD_START
        of_class.clock = max(of_class.clock, tag) + 1.0 / max(1, len(self._pending))
        self._latest = max(self._latest, of_class.clock)

    def drained(self, class_key: str) -> None:
        """Nothing of the class is claimable: when it comes back, it begins level with the others."""
        self._classes.pop(class_key, None)

    def idle(self) -> None:
        """Nothing is pending at all: everybody begins level. What is being stored is as good as pending."""
        if self.storing:
            return
        self._classes.clear()
        self._pending.clear()

    def restore(self, class_key: str, flow: Flow, first_rank: float, last_rank: float, count: int) -> None:
        """Take up a flow found in the store at start: how many jobs of the class are pending, and their ranks."""
        head_start = flow[1] * HEAD_START
        first, last = first_rank + head_start, last_rank + head_start
        of_class = self._classes.setdefault(class_key, _Class(first))
        of_class.clock = min(of_class.clock, first)
        of_class.after[flow] = max(last + 1.0, of_class.after.get(flow, 0.0))
        self.count(flow, count)
        self._latest = max(self._latest, of_class.clock)
