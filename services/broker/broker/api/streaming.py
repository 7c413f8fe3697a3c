"""Bodies that are larger than memory: in pieces, each in time."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from broker.api.errors import HttpError

__all__ = ["body_chunks", "declared_size"]


MIN_BYTES_A_SECOND = 4 * 1024
"""Slower than a modem's line is nobody who uploads: he keeps others from it."""


async def body_chunks(request: Request, *, idle_seconds: float, total_seconds: float) -> AsyncIterator[bytes]:
    """The body as it arrives. HttpError 408 after a pause, when it comes a few bytes at a time, or when the whole takes
    too long; ClientDisconnect."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    received = 0
    more = True
    while more:
        patience = min(total_seconds, idle_seconds + received / MIN_BYTES_A_SECOND)
        try:
            async with asyncio.timeout(min(idle_seconds, max(0.0, started + patience - loop.time()))):
                message = await request.receive()
        except TimeoutError:
            raise HttpError(408, "The body did not arrive in time.", close=True) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if message.get("body"):
            received += len(message["body"])
            yield message["body"]
        more = message.get("more_body", False)


def declared_size(request: Request) -> int:
    """Content-Length. HttpError 411 without it."""
    declared = request.headers.get("content-length", "")
    if not declared.isdigit():
        raise HttpError(411, "Send the header Content-Length.", close=True)
    return int(declared)
