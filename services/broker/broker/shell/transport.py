"""A connection's way out: joins writes, and cuts off whoever does not read what was sent to him.

Two writes cost a second system call and wake the other side twice, a sixth of the time under load. An answer that
nobody reads stays in memory until somebody gives up: here, when a peer takes less than MIN_BYTES_A_SECOND, and when all
unread answers together are more than MAX_UNREAD_BYTES (then those that have waited longest).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

__all__ = ["GatheringTransport", "Unread"]

MIN_BYTES_A_SECOND: Final = 4 * 1024
"""Slower than a modem's line is no reader."""
MAX_UNREAD_BYTES: Final = 256 * 1024 * 1024
"""Unread answers of all connections: a quarter of the bundle's memory for the broker."""


class Unread:
    """The connections that have much to read still, the longest waiting first."""

    def __init__(self, patience: float, most: int = MAX_UNREAD_BYTES) -> None:
        self.patience = patience
        """Seconds over which a reader's speed is taken."""
        self._most = most
        self._waiting: dict[GatheringTransport, None] = {}

    def add(self, transport: "GatheringTransport") -> None:
        """A connection has much to read; when it is too much in all, the longest waiting are cut off."""
        self._waiting[transport] = None
        total = sum(each.unread for each in self._waiting)
        for each in list(self._waiting):
            if total <= self._most or each is transport:
                break
            total -= each.unread
            each.abort()

    def discard(self, transport: "GatheringTransport") -> None:
        """A connection has caught up, or is gone."""
        self._waiting.pop(transport, None)


class GatheringTransport:
    """Joins what is written in one turn of the event loop; everything else is the transport's own."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        unread: Unread,
        linger: Callable[[], bool],
    ) -> None:
        """`linger` is asked at `close`, and says whether it closes the connection by itself, later."""
        self._transport = transport
        self._linger = linger
        self._loop = loop
        self._unread = unread
        self._held: list[bytes] = []
        self._written = 0
        self._taken = 0
        self._check: asyncio.TimerHandle | None = None

    @property
    def unread(self) -> int:
        """Bytes that the peer's side has not taken yet."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send, together with whatever else is written in this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def write_eof(self) -> None:
        """Say that nothing more will come, after what was written."""
        self._flush()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close when everything was read; cut off a peer who does not read."""
        if self._linger():
            return
        self._flush()
        self._transport.close()
        if self.unread:
            self.watch()

    def abort(self) -> None:
        """Cut the connection; what was not read is lost."""
        self.forget()
        self._transport.abort()

    def forget(self) -> None:
        """The connection is gone: no more watching."""
        self._unread.discard(self)
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._written += len(data)
            self._transport.write(data)

    def watch(self) -> None:
        """The peer is behind: see to it that it goes on reading."""
        self._unread.add(self)
        if self._check is None:
            self._taken = self._written - self.unread
            self._check = self._loop.call_later(self._unread.patience, self._look)

    def _look(self) -> None:
        self._check = None
        unread = self.unread
        taken = self._written - unread
        if not unread:
            self._unread.discard(self)
        elif taken - self._taken < MIN_BYTES_A_SECOND * self._unread.patience:
            self.abort()
        else:
            self._taken = taken
            self._check = self._loop.call_later(self._unread.patience, self._look)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
