"""CPU time of a whole process tree, without cgroups, also when the tree tries to hide it.

The kernel adds a child's CPU time to its parent's only when the parent waits for it. A job whose processes ignore
SIGCHLD, or that ends with children still running, would get that time for nothing. So each sample adds up what the live
processes used and what they inherited from children, and keeps what disappeared without being inherited.
"""

from __future__ import annotations

from collections.abc import Iterable

from sandrun.sandbox.procfs import CLOCK_TICKS, ProcessStat

__all__ = ["CpuMeter"]


class CpuMeter:
    """Adds up samples of one tree. What it reports never falls.

    Precise to a clock tick (10 ms) for each process. A process that lives and dies between two samples under a parent
    that ignores SIGCHLD is not seen; the wall clock times the number of CPUs bounds what can hide there.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}
        self._lost_ticks = 0
        self._live_ticks = 0

    def add(self, processes: Iterable[ProcessStat]) -> float:
        """Take one sample of every process of the tree; returns the tree's CPU seconds so far."""
        now = {(p.pid, p.started): (p.own_ticks, p.children_ticks) for p in processes}
        gone = sum(own + children for key, (own, children) in self._seen.items() if key not in now)
        inherited = sum(max(0, children - self._seen.get(key, (0, 0))[1]) for key, (_, children) in now.items())
        self._lost_ticks += max(0, gone - inherited)
        self._live_ticks = sum(own + children for own, children in now.values())
        self._seen = now
        return self.seconds

    @property
    def seconds(self) -> float:
        """The tree's CPU time up to the last sample."""
        return (self._live_ticks + self._lost_ticks) / CLOCK_TICKS

    @property
    def lost_seconds(self) -> float:
        """The part that no parent inherited: it is in no account that the kernel keeps."""
        return self._lost_ticks / CLOCK_TICKS
