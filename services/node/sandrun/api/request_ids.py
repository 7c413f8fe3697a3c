"""Each call has an id: the caller's X-Request-Id if it is one, else a new one. It is answered, and in each log line.

Who submits for somebody else may say by which request he was asked: X-Submit-Request-Id is in the job's log lines too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loglines import REQUEST_ID, SUBMIT_REQUEST, new_request_id

__all__ = ["RequestIds"]

_HEADER: Final = b"x-request-id"
_SUBMIT_HEADER: Final = b"x-submit-request-id"
_STARTS: Final = ("http.response.start", "websocket.accept")
_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope, _HEADER) or new_request_id()
        REQUEST_ID.set(request_id)
        SUBMIT_REQUEST.set(_id_of(scope, _SUBMIT_HEADER))

        def named(message: Message) -> Awaitable[None]:
            if message["type"] in _STARTS:
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode())]
            return send(message)

        await self._app(scope, receive, named)


def _id_of(scope: Scope, header: bytes) -> str:
    for name, value in scope["headers"]:
        if name == header and _SANE.fullmatch(value):
            return str(value, "ascii")
    return ""
