"""What happens around every call, whatever it is: its id, the metrics, the log."""

import time
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.api.refusals import REFUSED, Refusals
from broker.context import REQUEST_HEADER, REQUEST_ID, TRACEPARENT, request_id_of, traceparent_of
from broker.logs import EventLog
from broker.service.broker import Broker

__all__ = ["Around"]

log = EventLog("broker.access")
NO_STORE = (b"cache-control", b"no-store")


class Around:
    """Serves calls by way of itself."""

    def __init__(self, broker: Broker) -> None:
        self._answers = broker.meter.answers
        self._refusals = Refusals(broker.settings)
        self._traced = broker.sink is not None

    def noted(self, name: str, scope: Scope, send: Send) -> Send:
        """Begin a request that the metrics and the log call `name`: what it is answered with goes by what this returns.
        The scope's "status" is that of the answer."""
        request_id = request_id_of(scope["headers"])
        REQUEST_ID.set(request_id)  # the server serves every request in a context of its own
        if self._traced:
            TRACEPARENT.set(traceparent_of(scope["headers"]))

        # A login's answers are for now: "back" after the logout would show them from the browser's cache.
        once = any(name == b"cookie" for name, _ in scope["headers"])

        def noted(message: Message) -> Awaitable[None]:  # no coroutine of its own: every answer comes by here
            if message["type"] == "http.response.start":
                status = scope["status"] = message["status"]
                self._answers[name, status] += 1
                message["headers"] = [*message.get("headers", ()), (REQUEST_HEADER, request_id.encode())]
                if once and not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append(NO_STORE)
                if status in REFUSED:
                    self._refusals.note(status, name, scope)
            return send(message)

        return noted

    async def write(self, serve: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request and write a line about it."""
        began = time.perf_counter()
        try:
            await serve(scope, receive, send)
        finally:
            seconds = round(time.perf_counter() - began, 6)
            status = scope.get("status", 0)
            log.info("call", method=scope["method"], path=scope["path"], status=status, seconds=seconds)

    async def serve_websocket(self, serve: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket: it is told its id when it is opened, or refused by HTTP."""
        request_id = request_id_of(scope["headers"])
        REQUEST_ID.set(request_id)

        def named(message: Message) -> Awaitable[None]:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                message["headers"] = [*message.get("headers", ()), (REQUEST_HEADER, request_id.encode())]
            return send(message)

        await serve(scope, receive, named)
