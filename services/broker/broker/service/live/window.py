"""One stream of one attempt, by its bytes' offsets: what has arrived and is still kept."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Piece", "Source", "Window", "next_piece"]


SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream, the first of which is byte `start`."""

    start: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.start + len(self.data)


class Source(Protocol):
    """Something that has parts of a stream."""

    def read(self, offset: int, limit: int) -> Piece | None:
        """The first bytes that it has at `offset` or behind it, at most `limit`; None when there are none."""
        ...


class Window:
    """The newest `limit` bytes of what arrived. Holes stay where a node could not send what it had dropped itself."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        """Bytes kept."""
        self.end = 0
        """The offset behind the last byte that arrived."""
        self._pieces: deque[Piece] = deque()

    def add(self, offset: int, data: bytes) -> bool:
        """Take a chunk; what arrived before is not taken again. Whether anything was new."""
        known = self.end - offset
        if known > 0:
            data, offset = data[known:], self.end
        if not data:
            return False
        self._append(offset, data)
        self.end = offset + len(data)
        self.size += len(data)
        self.shrink(self.limit)
        return True

    def _append(self, offset: int, data: bytes) -> None:
        """A program that prints byte by byte makes no piece of each byte."""
        if self._pieces:
            last = self._pieces[-1]
            if last.end == offset and len(last.data) < SMALL_BYTES:
                self._pieces[-1] = Piece(last.start, last.data + data)
                return
        self._pieces.append(Piece(offset, data))

    def shrink(self, limit: int) -> None:
        """Keep at most `limit` bytes, the newest."""
        while self.size > limit:
            first = self._pieces.popleft()
            surplus = self.size - limit
            self.size -= len(first.data)
            if len(first.data) > surplus:
                self._pieces.appendleft(Piece(first.start + surplus, first.data[surplus:]))
                self.size += len(first.data) - surplus

    def read(self, offset: int, limit: int) -> Piece | None:
        """See Source."""
        for piece in self._from(offset):
            start = max(offset, piece.start)
            return Piece(start, piece.data[start - piece.start : start - piece.start + limit])
        return None

    def _from(self, offset: int) -> list[Piece]:
        """The piece that holds the first kept byte from `offset` on; readers are nearly always near the end."""
        found: list[Piece] = []
        for piece in reversed(self._pieces):
            if piece.end <= offset:
                break
            found = [piece]
        return found


def next_piece(sources: list[Source], offset: int, limit: int) -> Piece | None:
    """What any of the sources has nearest behind `offset`."""
    found = [piece for source in sources if (piece := source.read(offset, limit)) is not None]
    return min(found, key=lambda piece: (piece.start, -len(piece.data)), default=None)
