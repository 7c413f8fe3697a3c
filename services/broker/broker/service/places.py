"""Places for what arrives slowly: so many in all, and no one takes more than half of them from the others."""

from collections import Counter

from broker.errors import OverloadedError

__all__ = ["Places"]


class Places:
    """Counts uploads that arrive, in all and for each sender (None: senders are not told apart)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_each = max(1, most // 2)
        self._taken: Counter[str | None] = Counter()

    def enter(self, who: str | None) -> None:
        """Count one that begins; `leave` when it is over. OverloadedError."""
        mine = who is not None and self._taken[who] >= self._most_each
        if mine or self._taken.total() >= self._most:
            raise OverloadedError("Too many files arrive at the moment: try again later.")
        self._taken[who] += 1

    def leave(self, who: str | None) -> None:
        """It has arrived, or never will."""
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]
