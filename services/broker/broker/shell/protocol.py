"""uvicorn's HTTP protocol with limits: heads, targets, trailers, refused bodies, pipelines and silence all have bounds.

What is no HTTP, or too much of it, gets a JSON error, and the connection is closed so that the peer can still read it.
Nothing is logged for it: a stranger could fill the log.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from broker.shell.limits import (
    DRAIN_BYTES,
    LINGER_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    MAX_TARGET_BYTES,
    Doors,
)
from broker.shell.transport import GatheringTransport, Unread

__all__ = ["Shell", "protocol"]

BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
CHUNK_OVERHEAD: Final = 8
"""Bytes of framing that a chunked body may have for each byte of content; one-byte chunks have 5."""


class Refusal(NamedTuple):
    """An error that the shell answers by itself."""

    status: bytes
    sentence: bytes
    headers: bytes = b""


NO_HTTP: Final = Refusal(b"400 Bad Request", b"This is not HTTP/1.1 with a method that the broker knows.")
TOO_SLOW: Final = Refusal(b"408 Request Timeout", b"No request came in time.")
BODY_UNWANTED: Final = Refusal(b"413 Content Too Large", b"A call with this method has no body.")
TARGET_TOO_LONG: Final = Refusal(b"414 URI Too Long", b"Path and query are at most %d bytes long." % MAX_TARGET_BYTES)
HEAD_TOO_LARGE: Final = Refusal(
    b"431 Request Header Fields Too Large",
    b"A request has at most %d headers, and with them at most %d bytes." % (MAX_HEADERS, MAX_HEAD_BYTES),
)
TOO_MANY: Final = Refusal(
    b"503 Service Unavailable", b"Too many connections are open: try again later.", b"retry-after: 2\r\n"
)
PIPELINE_FULL: Final = Refusal(
    b"503 Service Unavailable", b"Too many requests wait on this connection.", b"retry-after: 1\r\n"
)


class _RefusedError(Exception):
    """Raised inside the parser, which gives up at once."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status)
        self.refusal = refusal


@dataclass(slots=True)
class Shell:
    """What all connections of a server share."""

    head_timeout: float
    """Seconds that the head of a request may take, and that a connection may be silent before its first."""
    doors: Doors
    unread: Unread
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(nothing, HTTP status) of what the shell answered by itself."""


def protocol(shell: Shell) -> type[asyncio.Protocol]:
    """The protocol of a server's connections."""
    return type("BrokerProtocol", (_Protocol,), {"shell": shell})


class _Protocol(HttpToolsProtocol):
    """One connection. `_deaf` once it was refused: what still comes is thrown away."""

    shell: Shell
    _patience: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None
    _key: str | None = None
    _deaf = False
    _deferred: Refusal | None = None
    _in_head = True
    _size = 0
    """Of the last piece."""
    _before = 0
    """Of the piece in which the last request ended; the next one's head may have begun there."""
    _fed = 0
    """Bytes since the last request's end that belong to the next one's head, as far as is known."""
    _body_fed = 0
    _body_bytes = 0
    _drained = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected: it has something to say, or goes."""
        gathering = GatheringTransport(transport, self.loop, self.shell.unread, self._lingers)
        super().connection_made(cast(asyncio.Transport, gathering))
        self._key = self.shell.doors.enter(self.client[0] if self.client else None)
        if self._key is None:
            self._refuse(TOO_MANY)
        else:
            self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_waiting()
        if self._lingering is not None:
            self._lingering.cancel()
        self._leave()
        super().connection_lost(exc)
        cast(GatheringTransport, self.transport).forget()

    def data_received(self, data: bytes) -> None:
        """Bytes came. Those that begin no request (half a head, the rest of a refused body) do not buy more time."""
        if self._deaf:
            self._throw_away(len(data))
            return
        self._unset_keepalive_if_required()
        self._size = size = len(data)
        if self._in_head:
            self._fed += size
        else:
            self._body_fed += size
        try:
            self.parser.feed_data(data)
            self._check_size()
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._stop_waiting()
                self.handle_websocket_upgrade()
                return
        except _RefusedError as refused:
            self._refuse_request(refused.refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse_request(cause.refusal if isinstance(cause, _RefusedError) else NO_HTTP)
        if self._patience is None and not self._deaf and (self.cycle is None or self.cycle.response_complete):
            self._be_patient()

    def handle_websocket_upgrade(self) -> None:
        """The connection becomes a WebSocket's: it counts until that ends."""
        super().handle_websocket_upgrade()
        successor = self.transport.get_protocol()
        lost, pause = successor.connection_lost, successor.pause_writing

        def connection_lost(exc: Exception | None) -> None:
            self._leave()
            lost(exc)

        def pause_writing() -> None:
            cast(GatheringTransport, self.transport).watch()
            pause()

        successor.connection_lost = connection_lost  # type: ignore[method-assign]
        successor.pause_writing = pause_writing  # type: ignore[method-assign]

    def _leave(self) -> None:
        if self._key is not None:
            self.shell.doors.leave(self._key)
            self._key = None

    # ---- the parser's callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a chunked body's trailers come here too, and nobody wants them."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A request began; its body has a time limit of its own (broker.api.body)."""
        if len(self.url) > MAX_TARGET_BYTES:
            raise _RefusedError(TARGET_TOO_LONG)
        if len(self.headers) > MAX_HEADERS or self._head_is_too_large():
            raise _RefusedError(HEAD_TOO_LARGE)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError(PIPELINE_FULL)
        self._in_head = False
        self._body_fed = self._body_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body. What nobody will read is counted, and thrown away up to a bound."""
        cycle = self.cycle
        self._body_bytes += len(body)
        if cycle.response_complete or cycle.scope["method"] not in BODY_METHODS:
            self._drained += len(body)
            if self._drained > DRAIN_BYTES:
                raise _RefusedError(BODY_UNWANTED)
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """A request is whole; what comes next is another one's head."""
        self._in_head = True
        self._fed = self._drained = 0
        self._before = self._size
        cast(dict[str, object], self.scope)["whole"] = True  # whoever reads the body now need not wait for it
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The peer reads more slowly than is written."""
        cast(GatheringTransport, self.transport).watch()
        super().pause_writing()

    # ---- answers

    def on_response_complete(self) -> None:
        """An answer is out; if it came before the request's end, the rest has to come soon."""
        if self._deferred is not None and not self.pipeline:
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self._refuse(self._deferred)
            return
        if self._deaf and self._deferred is None:
            self.server_state.total_requests += 1
            return
        unfinished = self.cycle.more_body
        super().on_response_complete()
        if self.cycle.response_complete and unfinished and not self.transport.is_closing():
            self._be_patient()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close."""
        self._refuse_request(NO_HTTP)

    def _head_is_too_large(self) -> bool:
        if self._fed + self._before <= MAX_HEAD_BYTES:
            return False  # so few bytes came: nothing to add up
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES

    def _check_size(self) -> None:
        """What the parser has not shown yet is bounded too: half a head, a chunk's extensions, trailers."""
        if self._in_head:
            if self._fed > MAX_HEAD_BYTES:
                raise _RefusedError(
                    TARGET_TOO_LONG if not self.headers and len(self.url) > MAX_TARGET_BYTES else HEAD_TOO_LARGE
                )
        elif self._body_fed > MAX_HEAD_BYTES + CHUNK_OVERHEAD * self._body_bytes:
            raise _RefusedError(HEAD_TOO_LARGE)

    def _refuse_request(self, refusal: Refusal) -> None:
        """Refuse the request that is coming in, after the answers to those before it."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self.pipeline):
            if cycle is not None and cycle.more_body:
                self._linger()  # its answer is out already
            else:
                self._refuse(refusal)
            return
        if cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # it is not whole and will never be
        elif cycle.more_body:
            self._end_cycle(refusal)
            return
        self._deaf = True
        self._deferred = refusal
        self.flow.pause_reading()

    def _end_cycle(self, refusal: Refusal) -> None:
        """The request that is being answered is itself wrong."""
        cycle = self.cycle
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self._linger()
        else:
            self._refuse(refusal)

    def _be_patient(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.shell.head_timeout, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        else:
            self._refuse(TOO_SLOW)

    def _refuse(self, refusal: Refusal) -> None:
        self.shell.answers["", int(refusal.status[:3])] += 1
        body = b'{"error":"%s"}' % refusal.sentence
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n%scontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (refusal.status, refusal.headers, len(body)) + body)
        self._linger()

    def _lingers(self) -> bool:
        """Whether a connection that is to be closed has more to send: it was answered before it had said everything."""
        cycle = self.cycle
        if cycle is None or not cycle.response_complete or not cycle.more_body:
            return self._lingering is not None and not self.transport.is_closing()
        self._linger()
        return True

    def _linger(self) -> None:
        """Send the end, and leave the peer a moment to read it: closed at once, what it sends would destroy it."""
        self._deaf = True
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self._lingering is None and not self.transport.is_closing():
            self.transport.write_eof()
            self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _throw_away(self, count: int) -> None:
        self._drained += count
        if self._drained > DRAIN_BYTES:
            self.flow.pause_reading()
