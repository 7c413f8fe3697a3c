"""When will a job start that has others ahead of it? A model of the line in which jobs flow like water.

Pools of slots take jobs of the classes that they can run, in proportion to what is left of each. A slot that becomes
free takes one job at once, then one for each time that a job of the mix takes; where all jobs take alike, that flow
begins half a job later (renewal theory: in a time t a slot begins 1 + t/mean + (spread - 1)/2 jobs). What is computed
is a mean: nothing new comes, and jobs take as long as such jobs took of late.
tests/unit/broker/test_forecast.py holds it against simulations.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Pool", "moments", "residuals", "seconds_until_start"]

SHORTEST_SECONDS = 0.001
STEPS = 400
"""More than any line needs; a bound all the same."""
PART = 0.3
"""How much of a class may flow off before the rates are looked at again, where pools share classes."""
MOMENTS = 32
"""Different moments at which a pool's slots become free; more are put together."""

Kind = tuple[int, ...]
"""Classes that the same pools run: the places of these pools."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Slots that can run the same classes. `free_at`: when so many of them become free, the earliest first."""

    runs: frozenset[str]
    free_at: tuple[tuple[float, float], ...]


def residuals(ages: Sequence[float], means: Sequence[float], spread: float) -> list[float]:
    """When running jobs will end, the earliest first: their ages, how long such jobs take, and the square of the
    coefficient of variation of that (0: all alike, 1 and more: no age tells anything)."""
    count = len(ages)
    if not count:
        return []
    blur = min(1.0, max(0.0, spread))
    steady = sorted(max(0.0, mean - age) for age, mean in zip(ages, means, strict=True))
    mean = sum(means) / count
    ends, memoryless = [], 0.0
    for place, end in enumerate(steady):
        memoryless += mean / (count - place)  # the mean time to the next end, were none of them to age
        ends.append((1 - blur) * end + blur * memoryless)
    return ends


def moments(ends: Iterable[float], now_free: float) -> tuple[tuple[float, float], ...]:
    """What `Pool.free_at` takes: `now_free` slots at once, and one at each of these ends."""
    ordered = sorted(ends)
    found = [(0.0, now_free)] if now_free > 0 else []
    size = max(1, math.ceil(len(ordered) / MOMENTS))
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        found.append((sum(part) / len(part), float(len(part))))
    return tuple(found)


def seconds_until_start(
    wanted: str,
    ahead: Mapping[str, float],
    seconds_each: Mapping[str, float],
    pools: Sequence[Pool],
    spread: float = 1.0,
) -> float | None:
    """The seconds until a job of class `wanted` starts that has `ahead` jobs of each class ahead of it, each of which
    takes `seconds_each`; `spread` as in `residuals`. None when no slot ever takes it."""
    return _Line(wanted, ahead, seconds_each, pools, min(1.0, max(0.0, spread))).run()


class _Line:
    """The jobs that are left, and the slots that take them."""

    def __init__(
        self,
        wanted: str,
        ahead: Mapping[str, float],
        seconds_each: Mapping[str, float],
        pools: Sequence[Pool],
        spread: float,
    ) -> None:
        self._wanted = self._kind(wanted, pools)
        self._left: dict[Kind, float] = {self._wanted: 1.0}
        work: dict[Kind, float] = {self._wanted: max(SHORTEST_SECONDS, seconds_each.get(wanted, SHORTEST_SECONDS))}
        for key, count in ahead.items():
            if count > 0:
                kind = self._kind(key, pools)
                seconds = max(SHORTEST_SECONDS, seconds_each.get(key, SHORTEST_SECONDS))
                self._left[kind] = self._left.get(kind, 0.0) + count
                work[kind] = work.get(kind, 0.0) + count * seconds
        self._each = {kind: work[kind] / count for kind, count in self._left.items()}
        self._runs = [tuple(kind for kind in self._left if place in kind) for place in range(len(pools))]
        self._active = [0.0] * len(pools)
        sizes = [sum(slots for _, slots in pool.free_at) for pool in pools]
        self._late = [(1 - spread) / 2 * (1 - 1 / max(1.0, size)) for size in sizes]
        """How much of a job's time passes before a slot that took one counts among the active."""
        self._events = [
            (moment, True, slots, place) for place, pool in enumerate(pools) for moment, slots in pool.free_at
        ]
        heapq.heapify(self._events)
        self._part = PART if len(pools) > 1 else 1.0

    @staticmethod
    def _kind(class_key: str, pools: Sequence[Pool]) -> Kind:
        return tuple(place for place, pool in enumerate(pools) if class_key in pool.runs)

    def run(self) -> float | None:
        now = 0.0
        for _ in range(STEPS + 2 * len(self._events)):
            while self._events and self._events[0][0] <= now:
                _, freed, slots, place = heapq.heappop(self._events)
                if not freed:
                    self._active[place] += slots
                elif self._take_at_once(place, slots):
                    return now
                else:
                    later = now + self._late[place] * self._mean(place)
                    heapq.heappush(self._events, (later, False, slots, place))
            rates = self._rates()
            following = self._events[0][0] if self._events else math.inf
            pause = min((self._pause(key, rate) for key, rate in rates.items()), default=math.inf)
            step = min(pause, following - now)
            if step == math.inf:
                return None
            for key, rate in rates.items():
                self._left[key] = max(0.0, self._left[key] - rate * step)
            now += step
            if self._left[self._wanted] < 1e-6:
                return now
        return now

    def _mean(self, place: int) -> float:
        """How long the jobs take that a pool takes now."""
        total = sum(self._left[key] for key in self._runs[place])
        return sum(self._left[key] * self._each[key] for key in self._runs[place]) / total if total > 0 else 0.0

    def _take_at_once(self, place: int, slots: float) -> bool:
        """Slots that became free take a job each; whether the wanted one was among them."""
        total = sum(self._left[key] for key in self._runs[place])
        if total <= 0:
            return False
        share = min(1.0, slots / total)
        for key in self._runs[place]:
            self._left[key] *= 1 - share
        return share > 1 - 1e-9 and self._wanted in self._runs[place]

    def _rates(self) -> dict[Kind, float]:
        """Jobs of each class that are begun in a second."""
        rates: dict[Kind, float] = {}
        for runs, active in zip(self._runs, self._active, strict=True):
            work = sum(self._left[key] * self._each[key] for key in runs)
            if active and work > 0:
                for key in runs:
                    rates[key] = rates.get(key, 0.0) + active * self._left[key] / work
        return {key: rate for key, rate in rates.items() if rate > 0}

    def _pause(self, key: Kind, rate: float) -> float:
        """How long the rates may be taken for constant."""
        left = self._left[key]
        return (left if left <= 1.0 else max(1.0, left * self._part)) / rate
