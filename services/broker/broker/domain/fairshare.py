"""Who is next: priority, fair shares between submitters and ageing, in one number that is fixed at submit.

Start-time fair queueing. Every submitter has one flow per priority; each job of a flow gets a start tag one higher than
the one before it, and no lower than the virtual clock, which advances by one job's share at each claim. Ordering by tag
alone lets flows take turns, so 10,000 jobs of one submitter delay another's single job by a claim or two.

`rank = tag - priority * HEAD_START`: a higher priority is a head start. Because the virtual clock keeps moving, a job
of low priority is overtaken by a bounded number of later jobs only: that is the ageing, and it costs no update.
"""

import heapq

__all__ = ["HEAD_START", "FairShare"]

HEAD_START = 1000.0
"""Places in the virtual order that one step of priority is worth; also how many claims make a job age by one step."""

MAX_FLOWS = 100_000
"""Submitters with jobs ahead of the clock that are told apart; beyond it everybody starts level again."""

Flow = tuple[str, int]


class FairShare:
    """The virtual clock and the flows that are ahead of it. One per broker, kept on the event loop."""

    def __init__(self, clock: float = 0.0) -> None:
        self._clock = clock
        self._finish: dict[Flow, float] = {}
        self._order: list[tuple[float, Flow]] = []

    @property
    def clock(self) -> float:
        """The virtual time: the start tag of a newcomer's job."""
        return self._clock

    @property
    def active_flows(self) -> int:
        """How many flows have jobs that are not yet due."""
        self._forget_past()
        return len(self._finish)

    def stamp(self, submitter: str | None, priority: int) -> float:
        """The rank of the submitter's next job; lower ranks are claimed first."""
        if len(self._finish) >= MAX_FLOWS:
            self.idle()
        flow = (submitter or "", priority)
        tag = max(self._clock, self._finish.get(flow, self._clock))
        self._set_finish(flow, tag + 1.0)
        return tag - priority * HEAD_START

    def claimed(self, count: int = 1) -> None:
        """Advance the clock for `count` jobs that were handed out."""
        for _ in range(count):
            self._forget_past()
            self._clock += 1.0 / max(1, len(self._finish))

    def idle(self) -> None:
        """Nothing is pending: past use is forgotten, everybody starts level."""
        if self._finish:
            self._clock = max(self._clock, *self._finish.values())
            self._finish.clear()
            self._order.clear()

    def restore(self, submitter: str | None, priority: int, first_rank: float, last_rank: float) -> None:
        """Take up a flow found in the store at start: the lowest and highest rank of its pending jobs."""
        head = first_rank + priority * HEAD_START
        tail = last_rank + priority * HEAD_START
        self._clock = head if not self._finish else min(self._clock, head)
        self._set_finish((submitter or "", priority), tail + 1.0)

    def _set_finish(self, flow: Flow, finish: float) -> None:
        self._finish[flow] = finish
        heapq.heappush(self._order, (finish, flow))

    def _forget_past(self) -> None:
        while self._order and self._order[0][0] <= self._clock:
            finish, flow = heapq.heappop(self._order)
            if self._finish.get(flow) == finish:
                del self._finish[flow]
