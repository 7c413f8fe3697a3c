"""Which classes have pending jobs, and which waiting claim gets woken when one comes.

Among the claims that could run a new job the one whose node prefers it most is woken, then the least loaded, then the
one that has been without a job the longest. One job wakes one claim: no herd. A job that comes while nobody waits is
owed to the next claim that begins to: most claims are at the store just then, and each of them would look again.
"""

import asyncio
import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from broker.domain.barring import barred_from
from broker.domain.placement import JobClass
from broker.errors import OverloadedError
from broker.service.profiles import ProfileGroup
from broker.service.sessions import NodeSession

__all__ = ["ClaimQueue", "Waiter"]

UNKNOWN = float("-inf")
"""The bound of a class that no claim has looked at."""
CANDIDATES = 32
"""Kinds of nodes that are compared for a job without preference: enough to find one that is nearly idle."""
LEAST_TIDIED = 32
"""Claims that have ended: fewer are not worth it."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A claim that waits. The future resolves with the class that woke it, or None when it should just look again."""

    session: NodeSession
    future: "asyncio.Future[str | None]"
    order: tuple[float, float, int]
    superseded: bool = False
    """A newer claim of the same session came."""

    def __lt__(self, other: "Waiter") -> bool:
        return self.order < other.order

    @property
    def woken_for(self) -> str | None:
        """The class of the job that woke it, if one did."""
        return self.future.result() if self.future.done() and not self.future.cancelled() else None

    @property
    def ready_to_claim(self) -> bool:
        """Whether a new job should wake it."""
        capacity = self.session.capacity
        room = capacity is None or self.session.held < capacity
        return room and not self.session.lapsed and not self.future.done()


@dataclass(slots=True)
class _Line:
    """The waiting claims of interchangeable nodes, best first."""

    group: ProfileGroup
    heap: list[Waiter] = field(default_factory=list)
    ended: int = 0
    """Claims that ended since the heap was tidied; most are in it still."""

    def tidy(self) -> None:
        """A claim ended. It leaves the heap when it comes to its head, which it may never do while there are better
        ones: before they are the greater part of it, throw all such out."""
        self.ended += 1
        if self.ended > len(self.heap) // 2 + LEAST_TIDIED:
            self.heap = [waiter for waiter in self.heap if not waiter.future.done()]
            heapq.heapify(self.heap)
            self.ended = 0

    def head(self) -> Waiter | None:
        while self.heap and self.heap[0].future.done():
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


class ClaimQueue:
    """Lives on the event loop; fed with what commits changed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: dict[str, float] = {}
        self._version = 0
        self._owed: dict[str, int] = {}
        """Class -> jobs that became claimable while no claim that could run them waited."""
        self._barred: dict[str, set[str]] = {}
        """Node id -> pending classes that this node is not to have."""
        self._lines: dict[int, _Line] = {}
        self._by_node: dict[str, list[Waiter]] = {}
        self._count = 0
        self._serial = 0

    def __len__(self) -> int:
        return self._count

    @property
    def pending_classes(self) -> Collection[str]:
        """Classes that may have claimable jobs."""
        return self._pending.keys()

    def runnable(self, session: NodeSession) -> tuple[str, ...]:
        """Classes with pending jobs that the node can run."""
        keys = session.group.runnable(self._pending, self._version)
        barred = self._barred.get(session.node_id)
        return tuple(key for key in keys if key not in barred) if barred else keys

    def bars(self, node_id: str) -> bool:
        """Whether some pending class is not for this node."""
        return node_id in self._barred

    def bounds(self, class_keys: Iterable[str]) -> tuple[float, ...]:
        """For each class a rank below which it has nothing claimable."""
        return tuple(self._pending.get(key, UNKNOWN) for key in class_keys)

    # ---- news

    def ready(self, class_key: str, count: int, best_rank: float = UNKNOWN) -> None:
        """`count` jobs of a class became claimable, the first of them at `best_rank`."""
        known = self._pending.get(class_key)
        if known is None:
            self._version += 1
            for node_id in barred_from(class_key):
                self._barred.setdefault(node_id, set()).add(class_key)
        self._pending[class_key] = best_rank if known is None else min(known, best_rank)
        self._wake(class_key, count)

    def bounded(self, bounds: Mapping[str, float]) -> None:
        """A claim found that these classes have nothing below these ranks."""
        for key, rank in bounds.items():
            if key in self._pending:
                self._pending[key] = rank

    def _wake(self, class_key: str, count: int) -> None:
        for woken in range(count):
            best = self._best_for(class_key)
            if best is None:
                self._owed[class_key] = self._owed.get(class_key, 0) + count - woken
                return
            best.future.set_result(class_key)

    def _pay(self, waiter: Waiter) -> None:
        """Wake a new waiter if a job is owed that its node can run."""
        if not self._owed or not waiter.ready_to_claim:
            return
        for key in self.runnable(waiter.session):
            owed = self._owed.get(key, 0)
            if owed:
                waiter.future.set_result(key)
                if owed > 1:
                    self._owed[key] = owed - 1
                else:
                    del self._owed[key]
                return

    def drained(self, class_keys: Iterable[str]) -> None:
        """Nothing of these classes is claimable now."""
        for key in class_keys:
            self._owed.pop(key, None)
            if self._pending.pop(key, None) is not None:
                self._version += 1
                self._unbar(key)

    def _unbar(self, class_key: str) -> None:
        for node_id in barred_from(class_key):
            classes = self._barred[node_id]
            classes.discard(class_key)
            if not classes:
                del self._barred[node_id]

    def look_again(self, node_id: str) -> None:
        """Something about the node changed (capacity, draining, its session): its claims shall look."""
        for waiter in self._by_node.get(node_id, ()):
            if not waiter.future.done():
                waiter.future.set_result(None)

    def wake_all(self) -> None:
        """The broker stops."""
        for node_id in list(self._by_node):
            self.look_again(node_id)

    # ---- waiting

    def supersede(self, session: NodeSession) -> None:
        """A newer claim of a session ends those that wait: their caller has gone."""
        for waiter in self._by_node.get(session.node_id, ()):
            waiter.superseded = True
        self.look_again(session.node_id)

    def offer(self, class_key: str) -> None:
        """A claim that was woken for a job of this class does not take it: wake another."""
        if class_key in self._pending:
            self._wake(class_key, 1)

    def begin(self, session: NodeSession, *, full: bool = False) -> Waiter:
        """Let a claim wait; give it back with `end`. It is woken at once when a job came since it looked. One that
        found its node `full` is not: room will wake it."""
        if self._count >= self._limit:
            raise OverloadedError("Too many claims wait: claim again without wait.")
        self._serial += 1
        order = (session.load, session.last_granted, self._serial)
        waiter = Waiter(session, asyncio.get_running_loop().create_future(), order)
        line = self._lines.setdefault(id(session.group), _Line(session.group))
        heapq.heappush(line.heap, waiter)
        self._by_node.setdefault(session.node_id, []).append(waiter)
        self._count += 1
        if not full:
            self._pay(waiter)
        return waiter

    def end(self, waiter: Waiter) -> None:
        """The claim waits no longer. A wake-up that it does not use is to be offered to the next."""
        if not waiter.future.done():
            waiter.future.cancel()
        self._count -= 1
        waiters = self._by_node[waiter.session.node_id]
        waiters.remove(waiter)
        if not waiters:
            del self._by_node[waiter.session.node_id]
        key = id(waiter.session.group)
        line = self._lines.get(key)
        if line is not None:
            line.tidy()
            if line.head() is None:
                del self._lines[key]

    def _best_for(self, class_key: str) -> Waiter | None:
        """The waiting claim to wake. Lines are looked at in the order in which they began to wait."""
        prefers = JobClass.from_key(class_key).has_preference
        barred = barred_from(class_key)
        candidates: list[tuple[float, Waiter]] = []
        for line in self._lines.values():
            if not line.group.can_run(class_key):
                continue
            waiter = self._first_able(line, barred)
            if waiter is not None:
                candidates.append((line.group.distance(class_key) if prefers else 0.0, waiter))
                if not prefers and len(candidates) >= CANDIDATES:
                    break
        return min(candidates)[1] if candidates else None

    @staticmethod
    def _first_able(line: _Line, barred: frozenset[str]) -> Waiter | None:
        """The best waiter whose node has room and is not barred. The others stay in line: full ones are woken when
        room comes."""
        head = line.head()
        if head is None or (head.ready_to_claim and head.session.node_id not in barred):
            return head
        able = [waiter for waiter in line.heap if waiter.ready_to_claim and waiter.session.node_id not in barred]
        return min(able) if able else None
