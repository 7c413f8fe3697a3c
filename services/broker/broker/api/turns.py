"""How many calls of nodes begin in one turn of the event loop: a fleet that comes back at once lets clients through.

After a restart of the broker five hundred nodes open their links, beat and claim within the same second. Each call is
short, but served in the order of arrival they make a client's submit wait for all of them (`bench reconnect`: p99 of
280 ms rather than 130). Here a few begin in each turn: whatever else arrives meanwhile has its turn between them.
"""

import asyncio
from collections import deque
from typing import Final

__all__ = ["Turns"]

MOST_A_TURN: Final = 8
"""Calls of a third of a millisecond each: a client's call, which takes a few turns of the loop, waits some 10 ms."""


class Turns:
    """Lives on the event loop. Waiting is bounded by the number of connections, each of which has one call."""

    def __init__(self) -> None:
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Whether a call may begin at once; else it is to `wait`."""
        if self._waiting or self._begun >= MOST_A_TURN:
            return False
        self._begun += 1
        if self._begun == 1:
            asyncio.get_running_loop().call_soon(self._next)
        return True

    async def wait(self) -> None:
        """Until it is this call's turn, behind those that wait already."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _next(self) -> None:
        """A new turn: those who waited longest begin."""
        self._begun = 0
        while self._waiting and self._begun < MOST_A_TURN:
            future = self._waiting.popleft()
            if not future.done():  # its client may have gone
                future.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next)
