"""Histograms of plain integers: counting costs a bisection, where prometheus-client's own take a lock each time."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

__all__ = ["CALL_SECONDS", "JOB_SECONDS", "Histogram"]

CALL_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what the broker itself takes its time for."""
JOB_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    14_400.0,
)  # fmt: skip
"""Bounds for what happens to jobs."""


class Histogram:
    """Values by upper bound. One thread at a time may change it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many lie at or below each bound and above the one before; the last is without a bound."""
        self.total = 0.0

    def __len__(self) -> int:
        return sum(self.counts)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_all(self, values: Iterable[float]) -> None:
        """Count several, in one loop: they come by the group, on the event loop, while callers wait."""
        bounds, counts, total = self.bounds, self.counts, self.total
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.total = total

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """(bound, how many values are not above it), the last one for infinity."""
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            yield bound, below
