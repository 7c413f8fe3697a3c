"""The HTTP server: uvicorn, with two changes.

It lets waiting calls return as soon as a signal asks for the end, and it sends an answer's head and body in one write:
uvicorn's two cost a second system call and wake the other side twice, a sixth of the broker's time under load.
"""

import asyncio
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from broker.service.broker import Broker

__all__ = ["OneWriteProtocol", "Server"]


class Server(uvicorn.Server):
    """Tells the broker first when the process is asked to end."""

    def __init__(self, config: uvicorn.Config, broker: Broker) -> None:
        super().__init__(config)
        self._broker = broker

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two bytecodes of the main thread, the loop's own."""
        self._broker.begin_stop()
        super().handle_exit(sig, frame)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that gathers writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected."""
        super().connection_made(cast(asyncio.Transport, _GatheringTransport(transport, self.loop)))


class _GatheringTransport:
    """Joins what is written in one turn of the event loop; everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
