"""What a program prints: every byte counted, the head and the tail kept."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

__all__ = ["Captured", "OutputBuffer", "Slice"]

#: Small writes are collected into chunks of this size, so that a program that prints byte by byte costs no more memory.
CHUNK_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Captured:
    """All that is kept of one stream. `cut` bytes are missing between head and tail."""

    head: bytes
    tail: bytes
    total: int

    @property
    def cut(self) -> int:
        """Bytes that were not kept."""
        return self.total - len(self.head) - len(self.tail)


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a stream. `start` is later than what was asked for when that part is not kept any more."""

    data: bytes
    start: int

    @property
    def next(self) -> int:
        """Where to go on reading."""
        return self.start + len(self.data)


class OutputBuffer:
    """One stream of one job: written by its supervisor's thread, read by any.

    Keeps at most `keep_bytes`: the first half as the head, the rest as the tail, which moves on as more arrives.
    """

    def __init__(self, keep_bytes: int) -> None:
        self._head_limit = keep_bytes // 2
        self._tail_limit = keep_bytes - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytearray] = deque()
        self._tail_size = 0
        self._total = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Bytes printed so far, kept or not."""
        return self._total

    def append(self, data: bytes) -> None:
        """Take what was read from the stream."""
        with self._lock:
            self._total += len(data)
            room = self._head_limit - len(self._head)
            if room > 0:
                self._head += data[:room]
                data = data[room:]
            if not data:
                return
            if len(data) > self._tail_limit:
                data = data[-self._tail_limit :]
            if self._tail and len(self._tail[-1]) < CHUNK_BYTES:
                self._tail[-1] += data
            else:
                self._tail.append(bytearray(data))
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._tail_size -= len(self._tail.popleft())

    def captured(self) -> Captured:
        """Head and tail as they are now."""
        with self._lock:
            return Captured(bytes(self._head), self._kept_tail(), self._total)

    def read_from(self, offset: int) -> Slice:
        """What is kept from absolute byte `offset` on, up to the next gap or the end."""
        with self._lock:
            tail = self._kept_tail()
            tail_start = self._total - len(tail)
            if offset < len(self._head):
                joined = tail if tail_start == len(self._head) else b""
                return Slice(bytes(self._head[offset:]) + joined, offset)
            start = min(max(offset, tail_start), self._total)
            return Slice(tail[start - tail_start :], start)

    def _kept_tail(self) -> bytes:
        return b"".join(self._tail)[-self._tail_limit :] if self._tail else b""
