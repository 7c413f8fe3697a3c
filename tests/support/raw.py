"""A connection that sends what it is told, byte by byte if need be, and hears everything that comes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, NamedTuple

SECONDS = 30.0
"""After which whoever waits has failed."""


class Heard(NamedTuple):
    """One answer: its status, lower-cased headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The sentence of a JSON error; fails when the answer is none."""
        assert self.headers["content-type"] == "application/json", self
        sentence: str = json.loads(self.body)["error"]
        return sentence


class Raw:
    """A socket. Every wait is bounded by SECONDS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Raw:
        """A connected one."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def heard(self) -> Heard:
        """The next answer, with its Content-Length or chunked."""
        async with asyncio.timeout(SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
            status = int(lines[0].split()[1])
            if status == 100:
                return Heard(status, headers, b"")
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return Heard(status, headers, body)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer's status and JSON."""
        heard = await self.heard()
        return heard.status, json.loads(heard.body)

    async def line(self) -> dict[str, Any]:
        """The next line of a chunked answer; head, chunk sizes and pings are passed over."""
        async with asyncio.timeout(SECONDS):
            while not (line := await self.reader.readline()).startswith(b"{") or b'"ping"' in line:
                assert line, "the connection was closed"
            answer: dict[str, Any] = json.loads(line)
            return answer

    async def rest(self) -> bytes:
        """Everything until the other side ends it."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def send(self, data: bytes) -> None:
        """Send, and wait until the socket takes it. ConnectionError when the other side has gone."""
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def close(self) -> None:
        """Cut it."""
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
