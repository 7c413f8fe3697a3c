"""An HTTP proxy between an agent and its broker that does to calls what broken proxies and networks do.

Every call is noted. What is done to the n-th call of a path depends on the seed, the path and n only, so that a run can
be repeated as far as the agent's own timing allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

Mode = Literal["pass", "meddle", "silent", "unavailable", "reset"]
PAGE = b"<html><body>It works!</body></html>"
OTHER_PROTOCOLS = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",  # a TLS alert
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),  # HTTP/2 settings
    b"220 mail ready\r\n",
    PAGE,  # HTTP/0.9
]
NO_ANSWERS = [b"", b"{", b"[]", b"null", b"[1, 2", b"{}", b'"ok"', PAGE, b"\xff\xfe", b'{"status": "starting"}']
LONGEST_DRIP = 4.0  # seconds


class Call(NamedTuple):
    """What was seen of one call."""

    at: float
    """Seconds on the monotonic clock."""
    path: str
    done_to_it: str


class _Request(NamedTuple):
    path: str
    data: bytes


class _Near(NamedTuple):
    """The agent's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def answer(status: str, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Meddler:
    """Listens on a port of its own. `mode`: `pass`; `meddle` with a share of `rate` of the calls; `silent` (takes
    connections and calls, answers nothing); `unavailable` (503); `reset` (breaks every connection)."""

    def __init__(self, target_port: int, *, seed: int = 0, rate: float = 0.3) -> None:
        self.calls: list[Call] = []
        self.port = 0
        self._mode: Mode = "pass"
        self._target_port = target_port
        self._seed = seed
        self._rate = rate
        self._counts: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._near: set[_Near] = set()
        self._meddlings: list[Callable[[_Near, _Request, random.Random], Awaitable[bool]]] = [
            self._error_before,
            self._error_after,
            self._reset_before,
            self._reset_after,
            self._truncated,
            self._no_answer_of_a_brokers,
            self._drip,
            self._twice,
            self._answered_twice,
            self._too_many,
            self._redirect,
            self._other_protocol,
            self._silence,
        ]

    async def __aenter__(self) -> Meddler:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refuse(self) -> None:
        """Listen no more, and break what is open, as the end of a process does."""
        assert self._server is not None
        self._server.close()
        self._break_all()

    @property
    def mode(self) -> Mode:
        """What it does."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode in ("unavailable", "reset"):
            self._break_all()

    def _break_all(self) -> None:
        for near in list(self._near):
            _reset(near)

    @property
    def done(self) -> Counter[str]:
        """How often each thing was done."""
        return Counter(call.done_to_it for call in self.calls)

    @property
    def meddled(self) -> int:
        """How many calls had something done to them."""
        return sum(bool(call.done_to_it) for call in self.calls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        near = _Near(reader, writer)
        self._near.add(near)
        try:
            while self._mode != "reset" and await self._one_call(near):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            if self._mode == "reset":
                self._note("reset", "connection")
                _reset(near)
            writer.transport.abort()
            self._near.discard(near)
            self._tasks.discard(task)

    async def _one_call(self, near: _Near) -> bool:
        """False when the connection is not to be used any more."""
        request = await _read_request(near.reader)
        if self._mode == "silent":
            self._note("silent", request.path)
            await near.reader.read()  # until the other side gives up
            return False
        if self._mode == "unavailable":
            self._note("unavailable", request.path)
            near.writer.write(answer("503 Service Unavailable", PAGE, kind="text/html"))
            return True
        chance = random.Random(f"{self._seed} {request.path} {self._counts[request.path]}")
        self._counts[request.path] += 1
        if self._mode == "meddle" and chance.random() < self._rate:
            meddling = chance.choice(self._meddlings)
            self._note(meddling.__name__.removeprefix("_"), request.path)
            return await meddling(near, request, chance)
        self._note("", request.path)
        if request.path == "/link":
            await self._pump(near, request, chance)
            return False
        near.writer.write(await self._ask(near, request))
        return True

    def _note(self, what: str, path: str) -> None:
        self.calls.append(Call(time.monotonic(), path, what))

    async def _ask(self, near: _Near, request: _Request) -> bytes:
        """The broker's answer. A caller that has gone ends the call there too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(request.data)
            answered, gone = asyncio.create_task(_read_answer(reader)), asyncio.create_task(near.reader.read(1))
            try:
                await asyncio.wait([answered, gone], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (answered, gone):
                    task.cancel()
                await asyncio.gather(answered, gone, return_exceptions=True)
            if answered.cancelled():
                raise EOFError("the caller has gone")
            return answered.result()
        finally:
            writer.transport.abort()

    async def _pump(self, near: _Near, request: _Request, chance: random.Random) -> None:
        """The link's lines as they come, in meddling times for some seconds only."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        patience = chance.uniform(0.5, 20) if self._mode == "meddle" else None
        try:
            writer.write(request.data)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while data := await reader.read(65536):
                        near.writer.write(data)
                        await near.writer.drain()
        finally:
            writer.transport.abort()

    # -- what is done to calls

    async def _error_before(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        near.writer.write(_error(chance))
        return True

    async def _error_after(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        await self._ask_even_link(near, request)
        near.writer.write(_error(chance))
        return True

    async def _reset_before(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        _reset(near)
        return False

    async def _reset_after(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        await self._ask_even_link(near, request)
        _reset(near)
        return False

    async def _truncated(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        whole = await self._ask_even_link(near, request)
        near.writer.write(whole[: chance.randrange(len(whole))])
        await near.writer.drain()
        near.writer.close()
        await near.writer.wait_closed()
        return False

    async def _no_answer_of_a_brokers(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        if chance.random() < 0.5:
            await self._ask_even_link(near, request)
        near.writer.write(answer("200 OK", chance.choice(NO_ANSWERS)))
        return True

    async def _drip(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        whole = await self._ask_even_link(near, request)
        seconds, start = chance.uniform(0.2, LONGEST_DRIP), chance.randrange(max(1, len(whole) - 40))
        near.writer.write(whole[:start])
        for at in range(start, min(start + 40, len(whole))):
            near.writer.write(whole[at : at + 1])
            await asyncio.sleep(seconds / 40)  # the drip
        near.writer.write(whole[start + 40 :])
        return True

    async def _twice(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        await self._ask_even_link(near, request)
        near.writer.write(await self._ask_even_link(near, request))
        return True

    async def _answered_twice(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        near.writer.write(2 * await self._ask_even_link(near, request))
        return True

    async def _too_many(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        wait = f"Retry-After: {chance.randrange(3)}"
        near.writer.write(answer("429 Too Many Requests", b'{"error": "slow down"}', wait))
        return True

    async def _redirect(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        where = chance.choice(["http://127.0.0.1:1/", "/health", f"http://127.0.0.1:{self.port}{request.path}"])
        status = chance.choice(["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
        near.writer.write(answer(status, PAGE, f"Location: {where}", kind="text/html"))
        return True

    async def _other_protocol(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        near.writer.write(chance.choice(OTHER_PROTOCOLS))
        await near.writer.drain()
        return False

    async def _silence(self, near: _Near, request: _Request, chance: random.Random) -> bool:
        """The broker has done it, and nobody says so for longer than most calls wait."""
        await self._ask_even_link(near, request)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(near.reader.read(1), chance.uniform(1, 12))
        return False

    async def _ask_even_link(self, near: _Near, request: _Request) -> bytes:
        """A link has no whole answer: of that one, its beginning."""
        if request.path != "/link":
            return await self._ask(near, request)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(request.data)
            return await reader.read(65536)
        finally:
            writer.transport.abort()


def _error(chance: random.Random) -> bytes:
    status = chance.choice(
        ["500 Internal Server Error", "502 Bad Gateway", "503 Unavailable", "504 Timeout", "520 What"]
    )
    if chance.random() < 0.5:
        return answer(status, PAGE, kind="text/html")
    return answer(status, b'{"error": "overloaded", "reason": "overloaded"}', "Retry-After: 1")


def _reset(near: _Near) -> None:
    """Close with a reset, so that the other side's next read fails."""
    sock = near.writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.writer.transport.abort()


def _length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return None


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(_length(head) or 0)
    path = head.split(b" ", 2)[1].decode().partition("?")[0]
    if path.count("/") > 1 and not path.endswith("/batch"):
        path = "/" + path.split("/")[1]  # without ids: /artifacts, /inputs
    return _Request(path, head + body)


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _length(head)
    if length is not None:
        return head + await reader.readexactly(length)
    return head + await reader.readuntil(b"0\r\n\r\n")  # chunked
