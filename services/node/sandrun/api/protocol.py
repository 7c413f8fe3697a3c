"""How uvicorn serves: bounds on what a client may hold, and on how long it may take to say what it wants.

uvicorn itself bounds idle connections only: one that sends a header a minute is held for ever.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["PatientHttpProtocol", "server_config"]

#: From the connection, or a request's first byte, until its headers are complete.
HEADERS_SECONDS = 20.0

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 15
WEBSOCKET_MESSAGE_BYTES = 4096  # followers have nothing to say


class PatientHttpProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers do not arrive in time. Bodies have bounds of their own."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._arm()

    def on_message_begin(self) -> None:
        """Start the clock for this request."""
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop it."""
        self._disarm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop it."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(HEADERS_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


def server_config(app: FastAPI, host: str, port: int) -> Config:
    """The server's settings."""
    return Config(
        app,
        host=host,
        port=port,
        loop="asyncio",  # uvloop starts processes by fork, which costs more the bigger the service is
        http=PatientHttpProtocol,
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_MESSAGE_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        access_log=False,
        log_config=None,  # its lines go where ours go
        server_header=False,
    )
