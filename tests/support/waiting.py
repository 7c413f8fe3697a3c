"""Waits for what no condition variable and no event tells: files, other processes, answers over HTTP.

The pauses are intervals between two looks, not guesses at how long something takes; every wait has an end.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
What = str | Callable[[], str]
SECONDS = 60.0  # generous: it matters only to a test that fails
PAUSE = 0.02


def wait_until(condition: Callable[[], T | None], *, seconds: float = SECONDS, what: What = "what was waited for") -> T:
    """The condition's first true value; fails with `what` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, _said(what, seconds)
        time.sleep(PAUSE)
    return value


async def eventually(
    condition: Callable[[], Awaitable[Any] | Any], *, seconds: float = SECONDS, what: What = "what was waited for"
) -> Any:
    """The same while the loop goes on; the condition may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, _said(what, seconds)
        await asyncio.sleep(PAUSE)


def _said(what: What, seconds: float) -> str:
    return f"not within {seconds} s: {what if isinstance(what, str) else what()}"
