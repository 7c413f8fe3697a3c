"""A TCP proxy that loses things: what a network does to a connection without telling either end."""

from __future__ import annotations

import asyncio
from typing import Literal

Mode = Literal["pass", "lose_answers", "blackhole"]


class LossyProxy:
    """Stands before the broker on a port of its own.

    `pass` forwards, `lose_answers` forwards requests and drops what comes back, `blackhole` drops both ways; no mode
    closes a connection. `answer_lost` is set when the broker answered into the void: then the call was carried out.
    """

    def __init__(self, target_port: int) -> None:
        self.mode: Mode = "pass"
        self.answer_lost = asyncio.Event()
        self.port = 0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> LossyProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(near_reader, far_writer, answers=False))
                pumps.create_task(self._pump(far_reader, near_writer, answers=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for writer in (near_writer, far_writer):
                if writer is not None:
                    writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if self.mode == "pass" or (self.mode == "lose_answers" and not answers):
                writer.write(data)
                await writer.drain()
            elif self.mode == "lose_answers":
                self.answer_lost.set()
        raise ConnectionResetError  # ends the other direction too
