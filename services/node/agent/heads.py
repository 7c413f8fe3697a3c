"""Heads of answers that have to be whole in time: http.client bounds each read of the socket, not their sum."""

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any


class _Timed(io.RawIOBase):
    """A socket's bytes until a deadline, whatever drips in meanwhile; without one, in the socket's own time."""

    def __init__(self, raw: io.RawIOBase, deadline: float) -> None:
        self._raw = raw
        self.deadline: float | None = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("the answer's head did not end in time")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedHead(HTTPResponse):
    """An answer whose head has to be whole in the time that one read may take: a byte a second would hold the beat up
    for ever. A body is bounded, or not, by whoever reads it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        timeout = sock.gettimeout()
        if timeout is not None:
            self._timed = _Timed(self.fp.detach(), time.monotonic() + timeout)
            self.fp = io.BufferedReader(self._timed)

    _timed: _Timed | None = None

    def begin(self) -> None:
        """Read the head; from then on each read has the socket's own time."""
        super().begin()
        if self._timed is not None:
            self._timed.deadline = None
