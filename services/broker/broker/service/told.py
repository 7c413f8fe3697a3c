"""Which classes of pending jobs have a name of their own in the metrics.

Clients make up classes (labels, regions, memory), and every name is a time series that is kept for weeks. So there are
few names at a time: the largest classes get the free places, a class keeps its place for an hour after its last pending
job, and everything else is counted together.
"""

import heapq
from collections import Counter
from collections.abc import Mapping

from broker.domain.placement import JobClass

__all__ = ["MOST_CLASSES", "OTHER", "ToldClasses", "class_name"]

MOST_CLASSES = 20
OTHER = "other"
LONGEST_NAME = 80
KEEP_SECONDS = 3600.0


class ToldClasses:
    """Remembers who has a place."""

    def __init__(self) -> None:
        self._last_seen: dict[str, float] = {}

    def sums(self, pending: Mapping[tuple[str, int], int], now: float) -> dict[str, int]:
        """Name -> pending jobs; `pending` is by class key and priority. OTHER is always there."""
        counts: Counter[str] = Counter()
        for (class_key, _), count in pending.items():
            counts[class_key] += count
        for key in list(self._last_seen):
            if counts[key]:
                self._last_seen[key] = now
            elif self._last_seen[key] < now - KEEP_SECONDS:
                del self._last_seen[key]
        free = MOST_CLASSES - len(self._last_seen)
        strangers = (item for item in counts.items() if item[1] and item[0] not in self._last_seen)
        for key, _ in heapq.nlargest(free, strangers, key=lambda item: item[1]):
            self._last_seen[key] = now
        sums: Counter[str] = Counter({OTHER: 0})
        for key in self._last_seen:
            sums[class_name(key)] += counts[key]
        sums[OTHER] += counts.total() - sum(counts[key] for key in self._last_seen)
        return dict(sums)


def class_name(class_key: str) -> str:
    """For people; two classes whose long names begin alike share one."""
    of = JobClass.from_key(class_key)
    text = ", ".join((of.interpreter, *of.wishes))
    return "".join(char if char.isprintable() else "?" for char in text)[:LONGEST_NAME]
