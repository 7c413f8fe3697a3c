"""Live output over real HTTP: JSON, server-sent events, WebSocket."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from support.broker_process import BrokerProcess
from support.waiting import eventually

pytestmark = pytest.mark.anyio
LONG_ENOUGH = 60.0


class Rig:
    """A broker process, a client of it, and one node whose jobs print what the test says."""

    def __init__(self, broker: BrokerProcess, client: httpx.AsyncClient) -> None:
        self.broker = broker
        self.client = client
        self.who: dict[str, Any] = {}

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def register(self) -> None:
        said = await self.post(
            "/register", {"endpoint": "x", "slots": 4, "capabilities": {"interpreters": ["python3"]}}
        )
        self.who = {"node_id": said["node_id"], "session": said["session"]}

    async def running_job(self) -> tuple[str, int]:
        job_id = (await self.post("/submit", {"code": "1"}))["job_id"]
        job = (await self.post("/claim", self.who))["job"]
        assert job["id"] == job_id
        await self.post("/start", {**self.who, "jobs": [{"job_id": job_id, "fence": job["fence"]}]})
        return job_id, job["fence"]

    async def follows(self) -> list[dict[str, Any]]:
        """What the node is asked to send, as its heartbeat hears it."""
        found: list[dict[str, Any]] = (await self.post("/heartbeat", self.who))["follow"]
        return found

    async def until_followed(self, job_id: str) -> None:
        async def followed() -> bool:
            return job_id in [order["job_id"] for order in await self.follows()]

        await eventually(followed, what=f"{job_id} is followed")

    async def prints(
        self, job_id: str, fence: int, data: bytes, offset: int, stream: str = "stdout"
    ) -> list[dict[str, Any]]:
        chunk = {"job_id": job_id, "fence": fence, "stream": stream, "offset": offset}
        chunk["data_base64"] = base64.b64encode(data).decode()
        stop: list[dict[str, Any]] = (await self.post("/progress", {**self.who, "chunks": [chunk]}))["stop"]
        return stop

    async def ends(self, job_id: str, fence: int, output: str, **said: Any) -> None:
        body = {"job_id": job_id, "fence": fence, "output": output, "error": "", "exit_code": 0}
        await self.post("/complete", {**self.who, **body, **said})

    async def events(
        self, job_id: str, last_id: str | None = None
    ) -> AsyncGenerator[tuple[str, str, dict[str, Any]], None]:
        """(id, event, data) until the stream ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        async with self.client.stream("GET", f"/logs/{job_id}", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name and value:
                    fields[name] = value
                elif not line and "event" in fields:
                    yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
                    fields = {}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with (
        BrokerProcess(tmp_path) as broker,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{broker.port}",
            timeout=LONG_ENOUGH,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=200),
        ) as client,
    ):
        rig = Rig(broker, client)
        await rig.register()
        yield rig


async def test_logs_grow_while_the_job_runs_and_stay_after_it(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    first = asyncio.create_task(rig.client.get(f"/logs/{job_id}"))
    await rig.until_followed(job_id)
    await rig.prints(job_id, fence, b"one\n", 0)
    shown = (await first).json()
    assert (shown["stdout"], shown["stderr"], shown["status"]) == ("one\n", "", "running")
    more = asyncio.create_task(rig.client.get(f"/logs/{job_id}?stdout_from={shown['stdout_next']}&wait=10"))
    await rig.prints(job_id, fence, b"two\xff\n", 4)
    assert (await more).json()["stdout"] == "two\ufffd\n"
    exact = (await rig.client.get(f"/logs/{job_id}?encoding=base64&stdout_from=1")).json()
    assert base64.b64decode(exact["stdout_base64"]) == b"ne\ntwo\xff\n"
    await rig.ends(job_id, fence, "one\ntwo\ufffd\n", failure="exit", exit_code=1)
    ended = (await rig.client.get(f"/logs/{job_id}")).json()
    assert (ended["stdout"], ended["status"]) == ("one\ntwo\ufffd\n", "failed")
    assert (await rig.client.get("/logs/unknown")).status_code == 404


async def test_a_job_that_printed_nothing_yet_is_answered_within_a_moment(rig: Rig) -> None:
    job_id = (await rig.post("/submit", {"code": "1"}))["job_id"]
    pending = (await rig.client.get(f"/logs/{job_id}")).json()
    assert (pending["status"], pending["stdout"]) == ("pending", "")
    running, _ = job_id, await rig.post("/claim", rig.who)
    assert (await rig.client.get(f"/logs/{running}")).json()["stdout"] == ""


async def test_fifty_followers_miss_nothing_and_hear_nothing_twice(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    lines = [f"line {number} äöü\n".encode() for number in range(300)]
    everything = b"".join(lines)

    async def follower(resume_after: int) -> bytes:
        """Reads to the end, and connects anew once after so many events."""
        got, last_id, seen = b"", None, 0
        while True:
            async for event_id, event, data in rig.events(job_id, last_id):
                last_id, seen = event_id or last_id, seen + 1
                if event == "stdout":
                    assert data["offset"] == len(got)
                    got += data["text"].encode()
                if event == "end":
                    assert (data["status"], data["exit_code"]) == ("completed", 0)
                    return got
                if seen == resume_after:
                    break

    followers = [asyncio.create_task(follower(number)) for number in range(50)]
    await rig.until_followed(job_id)
    at = 0
    for line in lines:
        assert await rig.prints(job_id, fence, line, at) == []
        at += len(line)
    await rig.ends(job_id, fence, everything.decode())
    async with asyncio.timeout(LONG_ENOUGH):
        assert set(await asyncio.gather(*followers)) == {everything}


async def test_a_reader_goes_on_in_an_attempt_that_began_after_a_restart(rig: Rig) -> None:
    """Its fence is a large number then (adr/0018)."""
    await rig.post("/submit", {"code": "left over"})
    await rig.broker.terminate()
    await rig.broker.start()
    job = (await rig.post("/claim", rig.who))["job"]
    assert job["fence"] > 10**15
    async with aclosing(rig.events(job["id"], f"{job['fence']}.0.0")) as events:
        event_id, _, _ = await anext(events)  # with 200
    assert event_id.startswith(f"{job['fence']}."), "and the event says so too"


async def test_a_followed_job_is_announced_on_the_nodes_link(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    async with rig.client.stream("POST", "/link", json=rig.who) as link:
        news = link.aiter_lines()
        assert json.loads(await anext(news))["type"] == "hello"
        following = asyncio.create_task(_first(rig, job_id))
        async with asyncio.timeout(LONG_ENOUGH):
            told = json.loads(await anext(news))
            while told["type"] == "ping":
                told = json.loads(await anext(news))
        assert told == {"type": "follow", "job_id": job_id, "fence": fence, "stdout_from": 0, "stderr_from": 0}
        assert await following == "status"


async def test_what_a_reader_may_ask_wrongly(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    await rig.ends(job_id, fence, "done")
    for garbage in ("x", "1.2", "-1.0.0", "1.0.0.end.", "9" * 60):
        answer = await rig.client.get(f"/logs/{job_id}?follow=true", headers={"Last-Event-ID": garbage})
        assert answer.status_code == 422
        assert "Last-Event-ID" in answer.json()["error"]
    *_, (last_id, event, _) = [item async for item in rig.events(job_id)]
    assert event == "end"
    for strange in (f"{fence + 7}.0.0", f"{fence}.99999.0", "0.5.5", f"{fence}.2.0"):
        *_, (_, event, verdict) = [item async for item in rig.events(job_id, strange)]
        assert (event, verdict["status"]) == ("end", "completed"), "an id that was never given ends too"
    again = await rig.client.get(f"/logs/{job_id}?follow=true", headers={"Last-Event-ID": last_id})
    assert again.status_code == 204
    assert (await rig.client.get("/logs/unknown?follow=true")).status_code == 404


async def test_a_node_may_send_wrong_chunks(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    for chunk in (
        {"job_id": job_id, "fence": fence, "stream": "stdin", "offset": 0},
        {"job_id": job_id, "fence": fence, "stream": "stdout", "offset": -1},
        {"job_id": job_id, "fence": fence, "stream": "stdout", "offset": 0, "data_base64": "?"},
        {"job_id": job_id, "fence": fence, "stream": "stdout", "offset": 0, "data_base64": "A" * (3 << 20)},
    ):
        answer = await rig.client.post("/progress", json={**rig.who, "chunks": [chunk]})
        assert answer.status_code == 422, answer.text
    stranger = {**rig.who, "session": "guess", "chunks": []}
    assert (await rig.client.post("/progress", json=stranger)).status_code == 409
    assert await rig.prints(job_id, fence, b"x", 0) == [{"job_id": job_id, "fence": fence}], "nobody reads it"


async def test_the_websocket_speaks_as_sandruns_does(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    async with connect(f"ws://127.0.0.1:{rig.broker.port}/stream/{job_id}") as socket:
        assert await socket.recv() == "[STATUS] running"
        await rig.until_followed(job_id)
        await rig.prints(job_id, fence, b"out", 0)
        assert await socket.recv() == "out"
        await rig.prints(job_id, fence, b"err", 0, "stderr")
        assert await socket.recv() == "[STDERR]err"
        await rig.ends(job_id, fence, "out, and more", error="err", failure="exit", exit_code=3)
        assert await socket.recv() == ", and more"
        assert await socket.recv() == "[DONE] Job failed exit code 3 (exit)"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


async def test_websockets_that_are_refused(rig: Rig) -> None:
    url = f"ws://127.0.0.1:{rig.broker.port}"
    async with connect(f"{url}/stream/unknown") as socket:
        assert await socket.recv() == "[ERROR] Job not found"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008
    for path in ("/", "/logs/x", "/stream/", "/stream/a/b"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + path)
        assert refused.value.response.status_code == 403
    job_id, _ = await rig.running_job()
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url}/stream/{job_id}", origin=Origin("http://evil.example"))
    assert refused.value.response.status_code == 403
    async with connect(f"{url}/stream/{job_id}") as socket:
        with contextlib.suppress(ConnectionClosed):
            await socket.send("x" * (1 << 20))
            while True:
                await socket.recv()
        assert socket.close_code == 1009
    assert (await rig.client.get("/health")).status_code == 200


async def test_a_stopping_broker_lets_its_readers_go(rig: Rig) -> None:
    job_id, fence = await rig.running_job()
    reading = asyncio.create_task(_collect(rig, job_id))
    async with connect(f"ws://127.0.0.1:{rig.broker.port}/stream/{job_id}") as socket:
        await rig.until_followed(job_id)
        await rig.prints(job_id, fence, b"so far", 0)
        assert [await socket.recv(), await socket.recv()] == ["[STATUS] running", "so far"]
        assert await rig.broker.terminate() == 0
        async with asyncio.timeout(LONG_ENOUGH):
            assert [event for _, event, _ in await reading] == ["status", "attempt", "stdout"]
        assert "Traceback" not in rig.broker.log_text()


async def _collect(rig: Rig, job_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [item async for item in rig.events(job_id)]


async def _first(rig: Rig, job_id: str) -> str:
    _, event, _ = await anext(rig.events(job_id))
    return event
