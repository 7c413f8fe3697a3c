"""Where a pending job stands in line, and when it may start: counted up to a bound, whatever is pending.

A job competes with the claimable jobs of every class that shares a live node with its own. Those of a better rank are
counted in the claim's own index; how long they will take is known from the jobs that ended of late (service.pace); the
rest is domain.line. What comes later with a better rank (a higher priority, a submitter with a share to catch up) is
not foreseen.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from broker.clock import Clock
from broker.domain.barring import barred_from
from broker.domain.fairshare import FairShare
from broker.domain.line import Pool, moments, residuals, seconds_until_start
from broker.service.matching import ClaimQueue
from broker.service.pace import Pace, Seconds
from broker.service.profiles import ProfileGroup
from broker.service.sessions import NodeSession, SessionBook
from broker.store.base import Store
from broker.store.records.job import Job

__all__ = ["Forecast", "Load", "Place"]

MOST_COUNTED = 10_000
"""Jobs ahead that are counted; beyond it there are "more"."""
MOST_CLASSES = 32
"""Classes that are counted: those of the best ranks."""
MOST_MATCHES = 20_000
"""Classes times kinds of nodes that are compared."""
SAMPLE = 100
"""Of so many jobs that may be counted, one is looked at for whose it is, in each of SAMPLED_CLASSES."""
SAMPLED_CLASSES = 4
BUILD_SHARE = 20
"""What the nodes hold is summed up anew when so many times the time that it took is over."""


@dataclass(slots=True)
class Load:
    """What nodes of one kind, live and taking jobs, have to do. Waiting attempts are those beyond their slots."""

    group: ProfileGroup
    nodes: int = 0
    slots: int = 0
    free: int = 0
    waiting: int = 0
    ages: list[float] = field(default_factory=list)
    means: list[Seconds | None] = field(default_factory=list)
    node_id: str | None = None
    """Of a node that some pending class bars: it has a load of its own."""

    def can_run(self, class_key: str) -> bool:
        """Whether its nodes could run the class and are not barred from it."""
        return self.group.can_run(class_key) and not (self.node_id and self.node_id in barred_from(class_key))


@dataclass(frozen=True, slots=True)
class Place:
    """A place in line. `more`: `ahead` was counted up to the bound only, and `position` is not known then.
    `estimate`: seconds until it starts; None when nothing tells."""

    ahead: int
    more: bool
    estimate: float | None

    @property
    def position(self) -> int | None:
        """1 is next."""
        return None if self.more else self.ahead + 1


class Forecast:
    """Answers for single jobs."""

    def __init__(
        self, store: Store, book: SessionBook, queue: ClaimQueue, fair: FairShare, pace: Pace, clock: Clock
    ) -> None:
        self._store = store
        self._book = book
        self._queue = queue
        self._fair = fair
        self._pace = pace
        self._clock = clock
        self._loads: list[Load] = []
        self._good_until = 0.0

    def loads(self) -> list[Load]:
        """The live nodes that take jobs, by kind; of many nodes up to some tenths of a second old."""
        began = time.monotonic()
        if began >= self._good_until:
            self._loads = self._sum_up(self._clock.now())
            self._good_until = began + (time.monotonic() - began) * BUILD_SHARE if len(self._book) > BUILD_SHARE else 0
        return self._loads

    async def place(self, job: Job, loads: Sequence[Load], most: int = MOST_COUNTED) -> Place | None:
        """A claimable job's place; None when none of the live nodes (`loads`) could run it."""
        own = [load for load in loads if load.can_run(job.class_key)]
        if not own:
            return None
        direct, others = self._competing(job, loads, own)
        counts: dict[str, int] = {}
        left = most
        for class_key in (*direct, *others):
            counts[class_key] = await self._store.ahead(class_key, job.rank, job.seq, left) if left > 0 else 0
            left -= counts[class_key]
        ahead = sum(counts[class_key] for class_key in direct)
        expected: dict[str, float] = dict(counts)
        if left <= 0:
            expected = {key: max(count, self._fair.ahead(key, job.rank)) for key, count in counts.items()}
        return Place(ahead, left <= 0, await self._estimate(job, expected, loads, max(1, most // SAMPLE)))

    def _competing(self, job: Job, loads: Sequence[Load], own: Sequence[Load]) -> tuple[list[str], list[str]]:
        """Classes that share a kind of node with the job's class, itself first; and those that share one with these."""
        known = [key for key in self._queue.pending_classes if key != job.class_key]
        bounds = dict(zip(known, self._queue.bounds(known), strict=True))
        better = sorted((key for key in known if bounds[key] <= job.rank), key=lambda key: bounds[key])
        better = better[: min(MOST_CLASSES, max(1, MOST_MATCHES // max(1, len(loads))))]
        direct = [key for key in better if any(load.can_run(key) for load in own)]
        shared = [load for load in loads if any(load.can_run(key) for key in direct)]
        others = [key for key in better if key not in direct and any(load.can_run(key) for load in shared)]
        return [job.class_key, *direct], others

    async def _estimate(self, job: Job, ahead: Mapping[str, float], loads: Sequence[Load], sample: int) -> float | None:
        now = self._clock.now()
        own = self._pace.seconds(job.class_key, now)
        spread = own.spread if own else 1.0
        seconds: dict[str, float] = {}
        most = sorted((key for key in ahead if ahead[key]), key=lambda key: -ahead[key])
        for place, class_key in enumerate(most):
            mean = await self._mean_ahead(job, class_key, sample if place < SAMPLED_CLASSES else 0)
            if mean is None:
                return None
            seconds[class_key] = mean.mean
            spread = mean.spread if place == 0 else spread
        pools = self._pools((*ahead, job.class_key), loads, own, spread)
        return None if pools is None else seconds_until_start(job.class_key, ahead, seconds, pools, spread)

    async def _mean_ahead(self, job: Job, class_key: str, sample: int) -> Seconds | None:
        """How long the jobs ahead take, by those whose they are."""
        now = self._clock.now()
        plain = self._pace.seconds(class_key, now)
        if plain is None or not sample:
            return plain
        whose = await self._store.whose_ahead(class_key, job.rank, job.seq, sample)
        total = sum(whose.values())
        if not total:
            return plain
        means = [(self._pace.seconds_of(class_key, each, now) or plain, number) for each, number in whose.items()]
        return Seconds(
            sum(each.mean * number for each, number in means) / total,
            sum(each.spread * number for each, number in means) / total,
        )

    def _pools(
        self, classes: Iterable[str], loads: Sequence[Load], own: Seconds | None, spread: float
    ) -> list[Pool] | None:
        """The loads as pools of slots, those that run the same of these classes together. None when they are full of
        jobs of which nobody knows how long they take."""
        merged: dict[frozenset[str], list[Load]] = {}
        wanted = set(classes)
        for load in loads:
            runs = frozenset(key for key in wanted if load.can_run(key))
            if runs:
                merged.setdefault(runs, []).append(load)
        pools = []
        for runs, members in merged.items():
            known = [mean for load in members for mean in load.means if mean is not None]
            usual = sum(mean.mean for mean in known) / len(known) if known else own.mean if own else None
            if usual is None and not any(load.free for load in members):
                return None
            ages = [age for load in members for age in load.ages]
            means = [(mean.mean if mean else usual or 0.0) for load in members for mean in load.means]
            ends = residuals(ages, means, sum(mean.spread for mean in known) / len(known) if known else spread)
            behind = sum(load.waiting for load in members) / max(1, len(ends)) * (usual or 0.0)
            free = float(sum(load.free for load in members))
            pools.append(Pool(runs, moments((end + behind for end in ends), free)))
        return pools

    def _sum_up(self, now: float) -> list[Load]:
        loads: dict[tuple[int, str | None], Load] = {}
        for session in self._book:
            if not session.claims_nothing and session.alive(now):
                alone = session.node_id if self._queue.bars(session.node_id) else None
                load = loads.setdefault((id(session.group), alone), Load(session.group, node_id=alone))
                self._add(load, session, now)
        return list(loads.values())

    def _add(self, load: Load, session: NodeSession, now: float) -> None:
        slots = session.slots or 1
        load.nodes += 1
        load.slots += slots
        load.free += max(0, slots - session.held)
        load.waiting += max(0, session.held - slots)
        held = self._pace.held(session.node_id)
        running = sorted(held, key=lambda each: not each.running)[: min(slots, session.held)]
        for each in running:
            load.ages.append(max(0.0, now - each.since))
            load.means.append(self._pace.seconds_of(each.class_key, each.whose, now))
        for _ in range(min(slots, session.held) - len(running)):  # from before the broker's start
            load.ages.append(0.0)
            load.means.append(None)
