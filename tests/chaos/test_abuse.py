"""Callers who want to harm: slow ones, silent ones, huge ones, nosy ones. The broker goes on serving the others."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from chaos.rig import Scenario
from support.http_connection import Answer, Connection, json_request, request_bytes
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
MIB = 1024 * 1024


@asynccontextmanager
async def open_sockets(port: int, count: int, first_bytes: bytes = b"") -> AsyncIterator[None]:
    """So many connections that have sent `first_bytes` and nothing more."""
    writers = []
    try:
        for _ in range(count):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first_bytes)
            writers.append(writer)
        yield
    finally:
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _quick(s: Scenario) -> None:
    """A well-behaved call is served: within a second, or a few on a busy machine."""
    started = asyncio.get_running_loop().time()
    await s.client("bystander").submit("ok")
    assert asyncio.get_running_loop().time() - started < 10


async def ask(s: Scenario, request: bytes, seconds: float = 60) -> Answer:
    """The answer to raw bytes on a fresh connection."""
    async with asyncio.timeout(seconds):
        connection = await Connection.open(s.broker.port)
        try:
            return await connection.send(request)
        finally:
            connection.abort()


HALF_HEAD = b"POST /submit HTTP/1.1\r\nhost: x\r\n"
HALF_BODY = HALF_HEAD + b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
REFUSED = HALF_HEAD + b"content-type: image/png\r\ncontent-length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    "first_bytes",
    [b"", HALF_HEAD, HALF_BODY, REFUSED],
    ids=["silent", "half a head", "half a body", "refused before its body"],
)
async def test_many_half_open_requests_do_not_shut_others_out(scenario: Make, first_bytes: bytes) -> None:
    async with scenario(BROKER_BODY_TIMEOUT="1", BROKER_HEAD_TIMEOUT="1") as s:
        hard = resource.prlimit(s.broker.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(s.broker.pid, resource.RLIMIT_NOFILE, (min(256, hard), hard))
        async with open_sockets(s.broker.port, 400, first_bytes):
            # No more files can be opened; those that hold them without a word have to go within a bounded time.
            await eventually(lambda: _served(s), seconds=60, what="a newcomer is served")
            assert s.broker.cpu_seconds() < 20, "waiting for a free file must not spin"
        await _quick(s)


async def _served(s: Scenario) -> bool:
    try:
        return (await ask(s, request_bytes("GET", "/health"), seconds=10)).status == 200
    except (OSError, TimeoutError):
        return False


async def test_a_stop_is_not_held_up_by_slow_callers(scenario: Make) -> None:
    async with (
        scenario(BROKER_STOP_TIMEOUT="2") as s,
        open_sockets(s.broker.port, 20, HALF_BODY),
        open_sockets(s.broker.port, 20),
    ):
        assert await s.broker.terminate(seconds=20) == 0, "a body's time is 30 s"


async def test_a_stop_with_a_full_disk_ends_cleanly(scenario: Make) -> None:
    async with scenario() as s:
        node = await s.registered()
        await s.broker.cap_pages(1)
        for _ in range(50):
            call = await s.client().call("submit", "POST", "/submit", {"code": "ok" + "x" * 5000})
            if call.status == 503:
                break
        assert call.status == 503
        await node.beat()
        assert await s.broker.terminate() == 0
        assert "Traceback" not in s.broker.log_text()


async def test_a_second_signal_does_not_harm_the_stop(scenario: Make) -> None:
    async with scenario() as s:
        hanging = asyncio.create_task((await s.registered()).claim_call(wait=25))
        for _ in range(3):
            await asyncio.sleep(0)
            assert (await s.client().call("health", "GET", "/health")).status == 200
        stop = asyncio.create_task(s.broker.terminate())
        assert (await hanging).status in (200, 503)
        assert await stop == 0


ODD_REQUESTS = {
    "long path": (b"GET /status/" + b"x" * 60_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", (400, 404, 414)),
    "NUL in an id": (request_bytes("GET", "/status/%00"), (400, 404)),
    "invalid UTF-8 in an id": (request_bytes("GET", "/status/%ff%fe"), (400, 404)),
    "slashes in an id": (request_bytes("GET", "/status/..%2f..%2fetc"), (404,)),
    "an empty id": (request_bytes("GET", "/status/"), (404,)),
    "wait is a word": (request_bytes("GET", "/status/x?wait=soon"), (404, 422)),
    "wait is endless": (request_bytes("GET", "/status/x?wait=1e999"), (404, 422)),
    "wait is NaN": (request_bytes("GET", "/status/x?wait=nan"), (404, 422)),
    "wait is negative": (request_bytes("GET", "/status/x?wait=-5"), (404, 422)),
    "limit is huge": (request_bytes("GET", "/jobs?limit=99999999999999999999"), (422,)),
    "limit is negative": (request_bytes("GET", "/jobs?limit=-1"), (422,)),
    "status is unknown": (request_bytes("GET", "/jobs?status=x"), (422,)),
    "cursor is nonsense": (request_bytes("GET", "/jobs?cursor=%27%20OR%201"), (400, 422)),
    "an unknown method": (request_bytes("BREW", "/submit"), (400, 405)),
    "a wrong method": (request_bytes("DELETE", "/submit"), (405,)),
    "an unknown path": (request_bytes("GET", "/admin"), (404,)),
    "a long idempotency key": (
        json_request("POST", "/submit", {"code": "x"}, headers=f"idempotency-key: {'k' * 5000}\r\n"),
        (400, 422),
    ),
    "an empty idempotency key": (
        json_request("POST", "/submit", {"code": "x"}, headers="idempotency-key: \r\n"),
        (200, 400, 422),
    ),
}


async def test_odd_requests_get_json_errors(scenario: Make) -> None:
    async with scenario() as s:
        wrong = []
        for name, (request, statuses) in ODD_REQUESTS.items():
            answer = await ask(s, request)
            if answer.status not in statuses or (answer.status != 200 and b'"error"' not in answer.body):
                wrong.append((name, answer.status, answer.body[:200]))
        assert not wrong
        for label in ("a=b", 'a"b=c', "a\\=b", "$.x=y", "a'=b", "=", "a", "a=" + "x" * 5000):
            quoted = "".join(f"%{byte:02x}" for byte in label.encode())
            answer = await ask(s, request_bytes("GET", f"/jobs?label={quoted}"))
            assert answer.status in (200, 414, 422), (label, answer)
        await _quick(s)


async def test_large_outputs_do_not_hold_up_the_small_calls(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        client, node = s.client(), await s.registered(slots=16)
        await client.submit_many([f"ok {n}" for n in range(16)])
        runs = await node.claim(max_jobs=16)
        output = "x" * (8 * MIB)
        bodies = [node.identity() | node.outcome(run, output=output) for run in runs]
        requests = [json_request("POST", "/complete", body) for body in bodies]  # before the clock runs
        before = s.broker.rss_bytes()
        large = [asyncio.create_task(ask(s, request, 60)) for request in requests]
        answered = 0
        while not all(task.done() for task in large):
            await client.submit("ok small", interpreter="bash")
            answered += 1
        assert {task.result().status for task in large} == {200}
        assert answered >= 3, "a small call waits for all large ones"
        assert s.broker.rss_bytes() - before < 600 * MIB
        for run, body in zip(runs, bodies, strict=True):  # again, for the history
            again = await node.call("complete", "POST", "/complete", body)
            assert again.body["duplicate"] is True
            node.held.pop(run.ref)


async def test_a_node_cannot_store_megabytes_as_its_capabilities(scenario: Make) -> None:
    async with scenario() as s:
        body = {"endpoint": "x", "capabilities": {"interpreters": ["python3"], "extra": "x" * (4 * MIB)}}
        answer = await ask(s, json_request("POST", "/register", body))
        assert answer.status in (413, 422), "they would come back with every GET /nodes"


async def test_one_node_cannot_touch_anothers_jobs(scenario: Make) -> None:
    async with scenario() as s:
        job = await s.client().submit("ok")
        owner, thief = await s.registered("owner"), await s.registered("thief")
        (run,) = await owner.claim()
        for path, body in (
            ("/complete", thief.outcome(run)),
            ("/complete", thief.outcome(run) | {"fence": None}),
            ("/complete", thief.outcome(run) | {"session": owner.session}),
            ("/complete", thief.outcome(run) | {"node_id": owner.node_id}),
        ):
            answer = await thief.call("theft", "POST", path, thief.identity() | body)
            assert answer.status in (403, 409), (path, answer.status, answer.body)
        refs = {"jobs": [{"job_id": job, "fence": 1}]}
        released = await thief.call("theft", "POST", "/release", thief.identity() | refs)
        assert released.body["released"] == []
        started = await thief.call("theft", "POST", "/start", thief.identity() | refs)
        assert [lost["job_id"] for lost in started.body["lost"]] == [job]
        beat = await thief.call(
            "theft", "POST", "/heartbeat", thief.identity() | {"held": refs["jobs"], "claims_done": 9}
        )
        assert [lost["job_id"] for lost in beat.body["lost"]] == [job]
        assert (await owner.complete(run)).status == 200
        wrong = await thief.call(
            "theft",
            "POST",
            "/register",
            {"endpoint": "x", "capabilities": {}, "node_id": owner.node_id, "secret": "guess"},
        )
        assert (wrong.status, wrong.body["reason"]) == (403, "wrong_secret")
