"""Which classes have pending jobs, and which waiting claim gets woken when one comes.

Among the claims that could run a new job the one whose node prefers it most is woken, then the least loaded, then the
one that has been without a job the longest. One job wakes one claim: no herd.
"""

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.errors import OverloadedError
from broker.service.sessions import NodeSession, ProfileGroup

__all__ = ["ClaimQueue", "Waiter"]


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
    def ready_to_claim(self) -> bool:
        """Whether a new job should wake it."""
        capacity = self.session.capacity
        return not self.future.done() and (capacity is None or self.session.held < capacity)


@dataclass(slots=True)
class _Line:
    """The waiting claims of interchangeable nodes, best first."""

    group: ProfileGroup
    heap: list[Waiter] = field(default_factory=list)

    def head(self) -> Waiter | None:
        while self.heap and self.heap[0].future.done():
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


class ClaimQueue:
    """Lives on the event loop; fed with what commits changed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: set[str] = set()
        self._version = 0
        self._lines: dict[int, _Line] = {}
        self._by_node: dict[str, list[Waiter]] = {}
        self._count = 0
        self._serial = 0

    def __len__(self) -> int:
        return self._count

    @property
    def pending_classes(self) -> set[str]:
        """Classes that may have claimable jobs."""
        return self._pending

    def runnable(self, session: NodeSession) -> tuple[str, ...]:
        """Classes with pending jobs that the node can run."""
        return session.group.runnable(self._pending, self._version)

    # ---- news

    def ready(self, class_key: str, count: int) -> None:
        """`count` jobs of a class became claimable."""
        if class_key not in self._pending:
            self._pending.add(class_key)
            self._version += 1
        for _ in range(count):
            best = self._best_for(class_key)
            if best is None:
                return
            best.future.set_result(class_key)

    def drained(self, class_keys: Iterable[str]) -> None:
        """Nothing of these classes is claimable now."""
        for key in class_keys:
            if key in self._pending:
                self._pending.discard(key)
                self._version += 1

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

    def offer(self, class_keys: Iterable[str]) -> None:
        """A claim that was woken for one of these has no room: wake another."""
        for key in class_keys:
            self.ready(key, 1)

    def begin(self, session: NodeSession) -> Waiter:
        """Let a claim wait; give it back with `end`."""
        if self._count >= self._limit:
            raise OverloadedError("Too many claims wait: claim again without wait.")
        self._serial += 1
        order = (session.load, session.last_granted, self._serial)
        waiter = Waiter(session, asyncio.get_running_loop().create_future(), order)
        line = self._lines.setdefault(id(session.group), _Line(session.group))
        heapq.heappush(line.heap, waiter)
        self._by_node.setdefault(session.node_id, []).append(waiter)
        self._count += 1
        return waiter

    def end(self, waiter: Waiter) -> None:
        """The claim waits no longer. A wake-up that it cannot use any more goes to the next: see `pass_on`."""
        if not waiter.future.done():
            waiter.future.cancel()
        self._count -= 1
        waiters = self._by_node[waiter.session.node_id]
        waiters.remove(waiter)
        if not waiters:
            del self._by_node[waiter.session.node_id]
        key = id(waiter.session.group)
        line = self._lines.get(key)
        if line is not None and line.head() is None:
            del self._lines[key]

    def pass_on(self, waiter: Waiter) -> None:
        """The woken claim takes no job: wake another for the class."""
        if waiter.future.done() and not waiter.future.cancelled():
            class_key = waiter.future.result()
            if class_key is not None and class_key in self._pending:
                self.ready(class_key, 1)

    def _best_for(self, class_key: str) -> Waiter | None:
        best: tuple[float, Waiter] | None = None
        for line in self._lines.values():
            if not line.group.can_run(class_key):
                continue
            waiter = self._first_able(line)
            if waiter is None:
                continue
            candidate = (line.group.distance(class_key), waiter)
            if best is None or candidate < best:
                best = candidate
        return best[1] if best else None

    @staticmethod
    def _first_able(line: _Line) -> Waiter | None:
        """The best waiter whose node has room. Full ones stay in line: they are woken when room comes."""
        head = line.head()
        if head is None or head.ready_to_claim:
            return head
        able = [waiter for waiter in line.heap if waiter.ready_to_claim]
        return min(able) if able else None
