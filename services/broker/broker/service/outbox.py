"""Whose webhook is sent next. A host that does not answer must hold up nobody else, whatever waits for it.

Hosts take turns. What waits is an id in a line, so that a hundred thousand webhooks of a receiver that is away cost a
few megabytes and not a task each.
"""

from collections import Counter, OrderedDict, deque

__all__ = ["Outbox"]


class Outbox:
    """Ids by the host that they are for. At most `most` are under way, and `most_each` to one host."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._waiting: dict[str, deque[str]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        """Hosts that something waits for and that may be called, in the order of their turns."""
        self._under_way: Counter[str] = Counter()
        self._size = 0

    def __len__(self) -> int:
        """What waits or is under way."""
        return self._size

    @property
    def hosts(self) -> int:
        """Of how many hosts something is known: nothing is kept of the others."""
        return len(self._waiting.keys() | self._under_way.keys())

    def add(self, host: str, name: str) -> None:
        """Let an id wait for its host's turn."""
        self._waiting.setdefault(host, deque()).append(name)
        self._size += 1
        self._give_turn(host)

    def take(self) -> tuple[str, str] | None:
        """The next host and id, under way from now on; None when there is none, or too much is under way."""
        if not self._turns or self._under_way.total() >= self._most:
            return None
        host, _ = self._turns.popitem(last=False)
        names = self._waiting[host]
        name = names.popleft()
        if not names:
            del self._waiting[host]
        self._under_way[host] += 1
        self._give_turn(host)
        return host, name

    def done(self, host: str) -> None:
        """Something for this host is under way no more."""
        self._size -= 1
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]
        self._give_turn(host)

    def _give_turn(self, host: str) -> None:
        if host in self._waiting and self._under_way[host] < self._most_each:
            self._turns.setdefault(host)
