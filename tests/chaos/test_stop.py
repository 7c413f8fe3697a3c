"""SIGTERM under load, draining nodes, and callers who send nonsense (scenario 25)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chaos.load import Load
from chaos.rig import Scenario
from support.http_connection import Answer, Connection, request_bytes

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
MIB = 1024 * 1024


async def test_a_broker_stops_well_under_load(scenario: Make) -> None:
    async with scenario() as s, Load(s, clients=60) as load:
        await load.reach(300)
        before = len(load.jobs)
        assert await s.broker.terminate() == 0, "a clean exit"
        s.history.mark("terminated")
        assert "Traceback" not in s.broker.log_text()
        await s.broker.start()
        await load.reach(before + 200)
        await load.finish()


async def test_hanging_calls_return_when_the_broker_stops(scenario: Make) -> None:
    async with scenario() as s:
        job = await s.client().submit("ok", interpreter="bash")
        nodes = [await s.registered(f"node-{n}") for n in range(20)]
        claims = [asyncio.create_task(node.claim_call(wait=25)) for node in nodes]
        waits = [
            asyncio.create_task(s.client(f"w{n}").call("results", "GET", f"/results/{job}?wait=25", seconds=40))
            for n in range(20)
        ]
        link = await nodes[0].open_link()
        await asyncio.sleep(0)
        for _ in range(10):
            assert (await s.client("probe").call("health", "GET", "/health")).status == 200
        loop = asyncio.get_running_loop()
        started = loop.time()
        stopping = asyncio.create_task(s.broker.terminate())
        calls = await asyncio.gather(*claims, *waits)
        assert loop.time() - started < 20, "long polls do not hold the stop up"
        assert await stopping == 0
        for call in calls:
            assert call.status in (200, 202, 503), "answered, not cut off"
            if call.verb == "claim" and call.status == 200:
                assert call.body["jobs"] == []
        link.close()


async def test_a_draining_node_hands_back_and_gets_nothing(scenario: Make) -> None:
    async with scenario(MAX_RETRIES="0", NODE_TIMEOUT="60") as s:
        jobs = await s.client().submit_many([f"ok {n}" for n in range(4)])
        leaving, other = await s.registered("leaving", slots=4), await s.registered("other", slots=4)
        runs = await leaving.claim(max_jobs=4)
        leaving.draining = True
        assert (await leaving.beat()).ok
        empty = await leaving.claim_call()
        assert (empty.body["jobs"], empty.body.get("drain")) == ([], True)
        assert len((await leaving.release(runs)).body["released"]) == 4
        moved = await other.claim(max_jobs=4, wait=20)
        assert {run.job_id for run in moved} == set(jobs)
        for run in moved:
            await other.complete(run)
        rows = s.audit()
        assert {row["attempt"] for row in rows.jobs.values()} == {1}


NONSENSE = {
    "empty": b"",
    "not JSON": b"{",
    "a list": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "deep": b"[" * 50_000,
    "a lone surrogate": b'{"code": "\\ud800"}',
    "invalid UTF-8": b'{"code": "\xff"}',
    "a NUL": b'{"code": "a\\u0000b"}',
    "code null": b'{"code": null}',
    "code a list": b'{"code": ["x"]}',
    "code empty": b'{"code": ""}',
    "a strange interpreter": b'{"code": "x", "interpreter": "rm -rf /"}',
    "interpreter null": b'{"code": "x", "interpreter": null}',
    "a negative timeout": b'{"code": "x", "timeout": -1}',
    "an endless timeout": b'{"code": "x", "timeout": 1e999}',
    "a NaN timeout": b'{"code": "x", "timeout": NaN}',
    "too long a timeout": b'{"code": "x", "timeout": 1000000}',
    "a huge integer": b'{"code": "x", "priority": 99999999999999999999999999}',
    "args a string": b'{"code": "x", "args": "y"}',
    "an unknown field": b'{"code": "x", "colour": "red"}',
    "node_id a list": b'{"node_id": ["x"]}',
    "endpoint a number": b'{"endpoint": 5, "capabilities": {}}',
    "capabilities a list": b'{"endpoint": "x", "capabilities": []}',
    "slots huge": b'{"endpoint": "x", "capabilities": {"interpreters": []}, "slots": 1e30}',
    "held nonsense": b'{"node_id": "x", "held": [{"job_id": 5}]}',
}
PATHS = [
    "/submit",
    "/submit/batch",
    "/register",
    "/heartbeat",
    "/claim",
    "/complete",
    "/complete/batch",
    "/release",
    "/start",
    "/link",
    "/results/batch",
]


async def test_nonsense_is_refused_with_a_sentence_and_harms_nobody(scenario: Make) -> None:
    async with scenario() as s:
        client = s.client()
        for name, body in NONSENSE.items():
            for path in PATHS:
                answer = await _send(s, request_bytes("POST", path, body))
                assert answer.status in (400, 404, 409, 413, 422), (name, path, answer)
                assert answer.json()["error"], (name, path)
            started = asyncio.get_running_loop().time()
            await client.submit("ok good one")
            assert asyncio.get_running_loop().time() - started < 5, f"a good call right after {name!r} is not held up"


@pytest.mark.parametrize("content", ["text/plain", "", "multipart/form-data; boundary=x", "multipart/form-data"])
async def test_other_content_types_get_json_errors(scenario: Make, content: str) -> None:
    async with scenario() as s:
        for path in PATHS:
            answer = await _send(s, request_bytes("POST", path, b'{"code": 5}', content=content))
            assert 400 <= answer.status < 500, (path, answer)
            assert answer.json()["error"], (path, answer)


async def test_an_oversized_body_is_refused_before_it_is_read_and_memory_stays_flat(scenario: Make) -> None:
    async with scenario(BROKER_MAX_BODY_BYTES=str(MIB)) as s:
        await s.client().submit("ok")
        before = s.broker.rss_bytes()
        answers = await asyncio.gather(*(_send_large(s, 50 * MIB, chunked=bool(n % 2)) for n in range(8)))
        assert set(answers) == {413}
        assert s.broker.rss_bytes() - before < 60 * MIB
        await s.client().submit("ok after")


async def _send(s: Scenario, request: bytes) -> Answer:
    async with asyncio.timeout(60):
        connection = await Connection.open(s.broker.port)
        try:
            return await connection.send(request)
        finally:
            connection.abort()


async def _send_large(s: Scenario, size: int, *, chunked: bool) -> int:
    """The status of an answer to a body of `size` bytes, which is sent as long as the broker takes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", s.broker.port)
    length = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    try:
        writer.write(
            f"POST /submit HTTP/1.1\r\nhost: broker\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode()
        )
        block = b"x" * 65536
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        try:
            for _ in range(size // len(block)):
                if answer.done():
                    break
                writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                await asyncio.wait_for(writer.drain(), 60)
        except ConnectionError:
            pass  # it answered and closed
        return int((await asyncio.wait_for(answer, 60)).split()[1])
    finally:
        writer.transport.abort()
