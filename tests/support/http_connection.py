"""One keep-alive HTTP/1.1 connection on asyncio, cheap enough to load a broker from the same two cores.

The fault tests need to see the socket (to cut it, to lose an answer), the benchmarks need a client that costs less than
the server it measures. General HTTP libraries hide the one and fail the other: httpx takes about 1 ms of CPU a request.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, NamedTuple, cast

_HEAD_END: Final = b"\r\n\r\n"
_NO_BODY: Final = (204, 304)


class Answer(NamedTuple):
    """What came back: status code, lower-cased head (status line and headers), body."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> Any:
        """The body as JSON; ValueError when it is none."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """A header's value, or None."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode() == name.lower():
                return value.strip().decode()
        return None


def request_bytes(
    method: str, path: str, body: bytes = b"", headers: str = "", content: str = "application/json"
) -> bytes:
    """A request ready to send; `headers` are further lines, each ending in CRLF."""
    kind = f"content-type: {content}\r\ncontent-length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {path} HTTP/1.1\r\nhost: broker\r\n{headers}{kind}\r\n".encode() + body


def json_request(method: str, path: str, body: Any = None, headers: str = "") -> bytes:
    """A request whose body is `body` as compact JSON; no body for None."""
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    return request_bytes(method, path, data, headers)


class Connection(asyncio.Protocol):
    """One request at a time; ConnectionError when the peer ends it before the answer is whole."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[Answer] | None = None
        self._head_end = -1
        self._body_length = 0

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Connection:
        """A connected one; OSError when nobody listens."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, request: bytes) -> Answer:
        """The answer to `request`. The caller bounds the time; a cancelled call leaves the connection unusable."""
        if not self.is_open or self._answer is not None:
            raise ConnectionError("connection is closed or busy")
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._answer = None

    def abort(self) -> None:
        """Cut the connection now, unsent and unread bytes included."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head_end < 0:
            self._head_end = self._buffer.find(_HEAD_END)
            if self._head_end < 0:
                return
            self._body_length = _body_length(bytes(self._buffer[: self._head_end]).lower())
        start = self._head_end + len(_HEAD_END)
        if self._body_length < 0:  # chunked: whole once the last chunk is there
            if self._buffer.endswith(b"0\r\n\r\n"):
                self._finish(_join_chunks(bytes(self._buffer[start:])))
        elif len(self._buffer) - start >= self._body_length:
            self._finish(bytes(self._buffer[start : start + self._body_length]))

    def _finish(self, body: bytes) -> None:
        head = bytes(self._buffer[: self._head_end]).lower()
        self._buffer.clear()
        self._head_end = -1
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(int(head[9:12]), head, body))
        if b"\r\nconnection: close" in head and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"closed before the answer: {exc}"))


def _body_length(head: bytes) -> int:
    """The body's length by its (lower-cased) head; -1 for chunked."""
    if int(head[9:12]) in _NO_BODY:
        return 0
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(head[at + 17 :].split(b"\r\n", 1)[0])
    return -1 if b"\r\ntransfer-encoding: chunked" in head else 0


def _join_chunks(data: bytes) -> bytes:
    body = bytearray()
    while True:
        size_line, _, data = data.partition(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        if size == 0:
            return bytes(body)
        body += data[:size]
        data = data[size + 2 :]
