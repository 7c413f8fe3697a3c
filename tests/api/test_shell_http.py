"""The shell around the broker: every kind of wrong HTTP gets a JSON error and an end, nothing is read without limit."""

import asyncio
import contextlib
from typing import NamedTuple

import pytest

from api.shell_rig import GET, MIB, POST, dialled
from support.broker_process import BrokerProcess
from support.http_connection import json_request

pytestmark = pytest.mark.anyio
BODY = b'{"code":"x"}'
SMUGGLED = b"GET /nodes HTTP/1.1\r\nhost: b\r\n\r\n"


class Case(NamedTuple):
    """Bytes, and the statuses that may answer them; what comes after the answer is never answered."""

    sent: bytes
    statuses: tuple[int, ...]


WRONG_HTTP = {
    "no HTTP at all": Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    "words": Case(b"hello there\r\n\r\n", (400,)),
    "HTTP/2 preface": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    "HTTP/9.9": Case(b"GET /ready HTTP/9.9\r\nhost: b\r\n\r\n", (400,)),
    "HTTP/0.9": Case(b"GET /ready\r\n\r\n", (200, 400)),
    "unknown method": Case(b"BREW /ready HTTP/1.1\r\nhost: b\r\n\r\n", (400,)),
    "lower-case method": Case(b"get /ready HTTP/1.1\r\nhost: b\r\n\r\n", (400,)),
    "CONNECT": Case(b"CONNECT example.com:443 HTTP/1.1\r\nhost: b\r\n\r\n", (400, 404, 405)),
    "OPTIONS *": Case(b"OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n", (400, 404)),
    "absolute form without path": Case(b"GET http://b HTTP/1.1\r\nhost: b\r\n\r\n", (400, 404)),
    "no slash": Case(b"GET ready HTTP/1.1\r\nhost: b\r\n\r\n", (400,)),
    "bytes beyond ASCII in the path": Case(b"GET /\xff\xfe HTTP/1.1\r\nhost: b\r\n\r\n", (400, 404)),
    "a bare CR in a header": Case(GET + b"x: a\rb: c\r\n\r\n", (400,)),
    "a NUL in a header": Case(GET + b"x: a\x00b\r\n\r\n", (400,)),
    "a space before the colon": Case(GET + b"x : a\r\n\r\n", (400,)),
    "a folded header": Case(POST + b"content-length: 12\r\n transfer-encoding: chunked\r\n\r\n" + BODY, (400,)),
    "two lengths": Case(POST + b"content-length: 12\r\ncontent-length: 5\r\n\r\n" + BODY, (400,)),
    "two equal lengths": Case(POST + b"content-length: 12\r\ncontent-length: 12\r\n\r\n" + BODY, (400,)),
    "lengths in one line": Case(POST + b"content-length: 12, 12\r\n\r\n" + BODY, (400,)),
    "a negative length": Case(POST + b"content-length: -1\r\n\r\n" + BODY, (400,)),
    "a length with a sign": Case(POST + b"content-length: +12\r\n\r\n" + BODY, (400,)),
    "a length beyond all numbers": Case(POST + b"content-length: 99999999999999999999\r\n\r\n", (400,)),
    "length and chunks": Case(POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "chunks and length": Case(POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", (400,)),
    "another encoding": Case(POST + b"transfer-encoding: gzip\r\n\r\n" + BODY, (400,)),
    "chunked is not the last": Case(POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", (400,)),
    "nearly chunked": Case(POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", (400,)),
    "a chunk that is no number": Case(POST + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n", (400,)),
    "a chunk size beyond all": Case(POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n", (400,)),
    "a chunk longer than it says": Case(POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", (400,)),
    "a long path": Case(b"GET /status/" + b"x" * 9000 + b" HTTP/1.1\r\nhost: b\r\n\r\n", (414,)),
    "a long query": Case(b"GET /jobs?label=" + b"x" * 9000 + b" HTTP/1.1\r\nhost: b\r\n\r\n", (414,)),
    "a path without end": Case(b"GET /" + b"x" * 200_000, (414,)),
    "a large header": Case(GET + b"x: " + b"y" * 100_000 + b"\r\n\r\n", (431,)),
    "a header without end": Case(GET + b"x: " + b"y" * 400_000, (431,)),
    "a header name without end": Case(GET + b"x" * 400_000, (431,)),
    "many headers": Case(GET + b"".join(b"x%d: y\r\n" % n for n in range(200)) + b"\r\n", (431,)),
    "many large headers": Case(GET + b"".join(b"x%d: %s\r\n" % (n, b"y" * 1000) for n in range(60)) + b"\r\n", (431,)),
    "trailers without end": Case(
        POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + b"x: yyyyyyyyyyyyyyyyyyy\r\n" * 20_000, (431,)
    ),
    "a chunk's extension without end": Case(POST + b"transfer-encoding: chunked\r\n\r\n3;x=" + b"y" * 200_000, (431,)),
    "a GET with a large body": Case(GET + b"content-length: 2000000\r\n\r\n" + b"x" * 600_000, (200, 413)),
    "a DELETE with a large body": Case(
        b"DELETE /jobs/x HTTP/1.1\r\nhost: b\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 600_000, (404, 413)
    ),
}


async def test_wrong_http_gets_a_json_error_and_the_end(process: BrokerProcess) -> None:
    wrong: list[object] = []
    for name, (sent, statuses) in WRONG_HTTP.items():
        async with dialled(process) as raw:
            with contextlib.suppress(ConnectionError):
                await raw.send(sent)
            heard = await raw.heard()
            if heard.status not in statuses or (heard.status >= 400 and not heard.error):
                wrong.append((name, heard))
            if heard.status in (400, 413, 414, 431):
                # Had the rest been taken for a request of its own, this would bring a second answer.
                with contextlib.suppress(ConnectionError):
                    await raw.send(SMUGGLED)
                if rest := await raw.rest():
                    wrong.append((name, heard, rest))
    assert not wrong, "\n".join(map(str, wrong))
    assert "Traceback" not in process.log_text()
    assert process.log_text().count("\n") < 20, "strangers do not fill the log"


async def test_a_large_head_is_refused_in_whatever_pieces_it_comes(process: BrokerProcess) -> None:
    head, first = WRONG_HTTP["many large headers"].sent, GET + b"\r\n"
    async with dialled(process) as raw:
        await raw.send(first + head[:30_000])
        assert (await raw.heard()).status == 200  # so the piece has been read
        await raw.send(head[30_000:])
        assert (await raw.heard()).status == 431


async def test_odd_but_right_http_is_served(process: BrokerProcess) -> None:
    whole = POST + b"content-length: 12\r\n\r\n" + BODY
    served = {
        "HTTP/1.0": (b"GET /ready HTTP/1.0\r\n\r\n", 200),
        "absolute form": (b"GET http://b/ready HTTP/1.1\r\nhost: b\r\n\r\n", 200),
        "HEAD": (b"HEAD /nowhere HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n", 404),
        "OPTIONS": (b"OPTIONS /submit HTTP/1.1\r\nhost: b\r\n\r\n", 405),
        "TRACE": (b"TRACE /submit HTTP/1.1\r\nhost: b\r\nx-secret: y\r\n\r\n", 405),
        "a GET with a small body": (GET + b"content-length: 3\r\n\r\nabc", 200),
        "chunks": (POST + b"transfer-encoding: chunked\r\n\r\n4\r\n" + BODY[:4] + b"\r\n8;a=b\r\n" + BODY[4:]
                   + b"\r\n0\r\nx: trailer\r\n\r\n", 200),
        "a fragment": (b"GET /ready#frag HTTP/1.1\r\nhost: b\r\n\r\n", 200),
        "an upgrade that is not offered": (GET + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n", 200),
        "after an empty line": (b"\r\n" + whole, 200),
    }  # fmt: skip
    for name, (sent, status) in served.items():
        async with dialled(process) as raw:
            await raw.send(sent)
            if name == "HEAD":
                head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
                assert (int(head.split()[1]), body) == (status, b""), name
                continue
            heard = await raw.heard()
            assert heard.status == status, (name, heard)
            assert b"x-secret" not in heard.body
    async with dialled(process) as raw:
        await raw.send(POST + b"expect: 100-continue\r\ncontent-length: 12\r\n\r\n")
        assert (await raw.heard()).status == 100
        await raw.send(BODY)
        assert (await raw.heard()).status == 200


async def test_a_refused_request_does_not_overtake_the_answers_before_it(process: BrokerProcess) -> None:
    async with dialled(process) as raw:
        await raw.send(json_request("POST", "/submit", {"code": "x"}) * 3 + b"nonsense\r\n\r\n")
        assert [(await raw.heard()).status for _ in range(4)] == [200, 200, 200, 400]
        assert await raw.rest() == b""
    async with dialled(process) as raw:
        await raw.send((GET + b"\r\n") * 500)
        statuses = []
        while (status := (await raw.heard()).status) == 200:
            statuses.append(status)
        assert (len(statuses) >= 100, status) == (True, 503)


async def test_a_refused_body_is_not_read_on(process: BrokerProcess) -> None:
    before = process.rss_bytes()

    async def push(head: bytes) -> None:
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n" if b"chunked" in head else b"x" * 65536
        taken = 0
        async with dialled(process) as raw:
            with contextlib.suppress(ConnectionError):
                await raw.send(head)
                while taken < 64 * MIB:
                    await raw.send(piece)
                    taken += len(piece)
        assert taken < 24 * MIB, "what the sockets hold, what is read of a body, and no more"

    heads = (
        POST + b"content-length: 512000000\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n",
        POST.replace(b"json", b"xml") + b"content-length: 512000000\r\n\r\n",
        POST.replace(b"/submit", b"/nowhere") + b"transfer-encoding: chunked\r\n\r\n",
    )
    await asyncio.gather(*map(push, heads))
    assert process.rss_bytes() - before < 40 * MIB
    async with dialled(process) as raw:
        await raw.send(POST + b"content-length: 512000000\r\n\r\n")
        heard = await raw.heard()
        assert (heard.status, heard.headers["connection"]) == (413, "close")
        assert await raw.rest() == b""


async def test_who_sends_first_and_reads_later_hears_why(process: BrokerProcess) -> None:
    for size in (3 * MIB, 300 * MIB):
        async with dialled(process) as raw:
            await raw.send(POST + b"content-length: %d\r\n\r\n" % size + b"x" * 200_000)
            await raw.send(b"x" * 100_000)  # closed at once, the connection would be reset by this
            heard = await raw.heard()
            assert (heard.status, await raw.rest()) == (413, b"")
