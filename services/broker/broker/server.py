"""The server: uvicorn, which tells the broker first when a signal asks for the end, so that waiting calls return, which
listens on the proxy's socket too, and which ends when the store has ended for good."""

import asyncio
import os
import socket
import time
from types import FrameType

import uvicorn

from broker.logs import EventLog
from broker.service.broker import Broker

__all__ = ["Server"]

log = EventLog(__name__)

ACCEPTS_A_TURN = 16
"""Connections that are accepted in one turn of the event loop. libuv accepts one for each listening socket, so new
clients stood behind a returning fleet's 1,500 connections for as many turns: 600 ms. The same socket is listened on by
so many descriptors. That costs each connection as many accept(2) that find nothing: 80 µs more of 230 for one call on a
connection of its own, nothing for calls on connections that are kept."""
TICK_SECONDS = 0.1
"""Between two looks of uvicorn at whether it should end."""


class Server(uvicorn.Server):
    """`failed` once it ended by itself."""

    failed = False
    _ticked = 0.0

    def __init__(self, config: uvicorn.Config, broker: Broker) -> None:
        super().__init__(config)
        self._broker = broker

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two bytecodes of the main thread, the loop's own."""
        self._broker.begin_stop()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end. Without the store's writer nothing can be served any more: whoever
        started the process starts it again."""
        self._measure_lag()
        if not self.failed and not self._broker.store.alive():
            log.error("the store has ended: the process ends too")
            self.failed = True
            self._broker.begin_stop()
        return await super().on_tick(counter) or self.failed

    def _measure_lag(self) -> None:
        now = time.perf_counter()
        if self._ticked:
            self._broker.meter.lags.add(max(0.0, now - self._ticked - TICK_SECONDS))
        self._ticked = now

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; on the proxy's socket (BROKER_PROXY_SOCKET) too."""
        await super().startup(sockets)
        if self.started:
            await self._listen_more()
        path = self._broker.settings.proxy_socket
        if path is None or not self.started:
            return
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_unix_server(self._protocol, str(path), backlog=self.config.backlog))
        path.chmod(0o660)
        log.info("listening for the proxy", path=path)

    async def _listen_more(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in [each for server in self.servers for each in server.sockets]:
            for _ in range(ACCEPTS_A_TURN - 1):
                again = socket.socket(fileno=os.dup(listening.fileno()))
                self.servers.append(await loop.create_server(self._protocol, sock=again, backlog=self.config.backlog))

    def _protocol(self) -> asyncio.Protocol:
        factory = self.config.http_protocol_class
        made = factory(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]
        assert isinstance(made, asyncio.Protocol)
        return made
