"""What is pending, and what happened in the last hour: counted as it is committed, so that nobody has to look it up.

Times are counted in steps that grow by a tenth: a percentile is right to 5 %, whatever their number.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from broker.domain.words import JobStatus
from broker.store.changes import Step
from broker.store.records.upkeep import Flow

__all__ = ["SLICES", "SLICE_SECONDS", "Tally"]

SLICE_SECONDS = 30.0
SLICES = 120
"""Together an hour."""
SHORTEST_SECONDS = 0.001
"""Nothing is told apart below it."""
_GROWTH = math.log(1.1)
_SHORTEST = math.floor(math.log(SHORTEST_SECONDS) / _GROWTH)

Histogram = Counter[int]


@dataclass(slots=True)
class _Slice:
    """Half a minute."""

    number: int
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    waits: Histogram = field(default_factory=Counter)
    totals: Histogram = field(default_factory=Counter)


class Tally:
    """Lives on the event loop; fed with what commits changed. Its memory is bounded by time, not by jobs."""

    def __init__(self) -> None:
        self.pending: Counter[tuple[str, int]] = Counter()
        """(class key, priority) -> pending jobs, waiting ones included; nothing is there with 0."""
        self._slices: deque[_Slice] = deque(maxlen=SLICES)

    def restore(self, flows: Iterable[Flow]) -> None:
        """Take up what was pending when the broker started."""
        for flow in flows:
            self.pending[flow.class_key, flow.priority] += flow.count

    def waits(self, class_key: str) -> bool:
        """Whether any job of a class is pending."""
        return any((class_key, priority) in self.pending for priority in range(10))

    def take(self, steps: Iterable[Step], now: float) -> None:
        """Count changes that were committed by `now`."""
        present = self._present(now)
        for step in steps:
            _, old, new, class_key, priority, seconds, failure, *_ = step
            if new is JobStatus.PENDING:
                self.pending[class_key, priority] += 1
                present.submitted += old is None
                continue
            if old is JobStatus.PENDING:
                self._less(class_key, priority)
                if new is JobStatus.ASSIGNED and seconds is not None:
                    present.waits[_place(seconds)] += 1
            if new is JobStatus.COMPLETED:
                present.completed += 1
            elif new is JobStatus.FAILED:
                present.failed += 1
                present.failures[str(failure)] += 1
            else:
                continue
            present.submitted += old is None
            if seconds is not None:
                present.totals[_place(seconds)] += 1

    def series(self, now: float) -> dict[str, Any]:
        """The last hour in slices, the oldest first and the present one, which is not over, last. Times in seconds;
        null where nothing was timed."""
        last = self._present(now).number
        known = {part.number: part for part in self._slices}
        empty = _Slice(0)
        parts = [known.get(number, empty) for number in range(last - SLICES + 1, last + 1)]
        return {
            "slice_seconds": SLICE_SECONDS,
            "until": (last + 1) * SLICE_SECONDS,
            "submitted": [part.submitted for part in parts],
            "completed": [part.completed for part in parts],
            "failed": [part.failed for part in parts],
            "wait_p50": [percentile(part.waits, 0.5) for part in parts],
            "wait_p95": [percentile(part.waits, 0.95) for part in parts],
            "total_p50": [percentile(part.totals, 0.5) for part in parts],
            "total_p95": [percentile(part.totals, 0.95) for part in parts],
        }

    def hour(self, now: float) -> dict[str, Any]:
        """The sums of the last hour."""
        last = self._present(now).number
        parts = [part for part in self._slices if part.number > last - SLICES]
        failures: Counter[str] = Counter()
        waits: Histogram = Counter()
        totals: Histogram = Counter()
        for part in parts:
            failures.update(part.failures)
            waits.update(part.waits)
            totals.update(part.totals)
        return {
            "submitted": sum(part.submitted for part in parts),
            "completed": sum(part.completed for part in parts),
            "failed": sum(part.failed for part in parts),
            "failures": dict(failures.most_common()),
            "wait_p50": percentile(waits, 0.5),
            "wait_p95": percentile(waits, 0.95),
            "total_p50": percentile(totals, 0.5),
            "total_p95": percentile(totals, 0.95),
        }

    def _present(self, now: float) -> _Slice:
        number = int(now // SLICE_SECONDS)
        if not self._slices or self._slices[-1].number < number:
            self._slices.append(_Slice(number))
        return self._slices[-1]

    def _less(self, class_key: str, priority: int) -> None:
        left = self.pending[class_key, priority] - 1
        if left > 0:
            self.pending[class_key, priority] = left
        else:
            del self.pending[class_key, priority]


def _place(seconds: float) -> int:
    return math.floor(math.log(seconds) / _GROWTH) if seconds > SHORTEST_SECONDS else _SHORTEST


def percentile(histogram: Histogram, share: float) -> float | None:
    """The time that `share` of all did not exceed; None of nothing."""
    count = histogram.total()
    if not count:
        return None
    wanted = share * count
    for place in sorted(histogram):
        wanted -= histogram[place]
        if wanted <= 0:
            break
    return float(f"{math.exp((place + 0.5) * _GROWTH):.3g}")
