"""Server-sent events: an answer that goes on until either side ends it."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["KEEP_ALIVE", "EventStream", "sse"]

SEND_SECONDS = 30
"""A reader that takes nothing for so long is let go; it comes back with the id of the last event that it had."""
KEEP_ALIVE = b": still here\n\n"
"""Says nothing, and shows whoever reads and whatever stands between that the stream lives."""
RECONNECT_MS = 1000
"""After which a browser whose stream has ended comes back, unless the stream says otherwise."""


def sse(event: str, data: bytes, event_id: str | None = None) -> bytes:
    """One event; `data` is JSON, so that it holds no line break."""
    head = f"id: {event_id}\nevent: {event}\n" if event_id is not None else f"event: {event}\n"
    return head.encode() + b"data: " + data + b"\n\n"


class EventStream(Response):
    """Sends what an iterator yields, and closes it."""

    def __init__(self, blocks: AsyncIterator[bytes], *, reconnect_ms: int = RECONNECT_MS) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # what proxies of the nginx family listen to
        self._blocks = blocks
        self._reconnect = f"retry: {reconnect_ms}\n\n".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the iterator ends or the reader hangs up."""
        reader = asyncio.ensure_future(_hangup(receive))
        writer = asyncio.ensure_future(self._stream(send))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer):
                task.cancel()
            # Only when the writer has let go may the iterator be closed, with what it holds. Not by the writer: one
            # that is cancelled before its first step closes nothing.
            await asyncio.gather(reader, writer, return_exceptions=True)
            close = getattr(self._blocks, "aclose", None)
            if close is not None:
                await close()
        if not writer.cancelled() and writer.exception() is None:
            await send({"type": "http.response.body", "body": b""})

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._reconnect, "more_body": True})
        async for block in self._blocks:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": block, "more_body": True})


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
