"""Telling coroutines on the event loop of what happens on the slots' threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

__all__ = ["News"]


class News:
    """One kind of news of one job: announced from any thread, awaited on the loop."""

    def __init__(self) -> None:
        self.version = 0  #: grows with every piece of news
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._wake_scheduled = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say on which loop the waiters live, before there can be news."""
        self._loop = loop

    def announce(self) -> None:
        """Wake whoever waits. Cheap when nobody does, and once for all that comes before they have run."""
        self.version += 1  # before the look at the waiters: they look in the other order, so none can miss it
        if self._wake_scheduled or not self._waiters:
            return
        self._wake_scheduled = True
        self.call_loop(self._wake)

    def call_loop(self, action: Callable[..., None], *arguments: object) -> None:
        """Have the loop do something. Called from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the service stops and nobody waits any more
                self._loop.call_soon_threadsafe(action, *arguments)

    async def changed(self, seen: int, seconds: float) -> None:
        """Wait until `version` is not `seen` any more, at most so many seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            if self.version == seen and seconds > 0:
                await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        self._wake_scheduled = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
