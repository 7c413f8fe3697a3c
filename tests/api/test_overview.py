"""GET /overview and GET /events: true at any time, cheap at any size."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.keyed import keyed
from api.rig import LONG_ENOUGH, Api, Started
from broker.api.app import make_app
from broker.errors import OverloadedError
from broker.service import events
from broker.service.events import CLIENT_WATCHERS, MAX_JOBS, MAX_WATCHERS, OWN_WATCHERS, EventHub
from broker.store.records.node import Node
from broker.store.records.upkeep import Flow

pytestmark = pytest.mark.anyio


async def test_the_overview_follows_a_job_from_end_to_end(api: Api) -> None:
    node = await api.node(slots=2, name="one", capabilities={"isolation": "namespaces"})
    first = await api.submit(priority=7)
    await api.submit(requires={"gpu": True})
    seen = await api.ok("GET", "/overview")
    assert seen["queue"]["pending"] == 2
    assert seen["queue"]["priorities"] == {"5": 1, "7": 1}
    assert [(c["wishes"], c["runnable"]) for c in seen["queue"]["classes"]] == [(["GPU"], False), ([], True)]
    api.clock.advance(4)
    (job,) = await node.claim()
    assert job["id"] == first
    seen = await api.ok("GET", "/overview")
    assert (seen["nodes"]["slots"], seen["nodes"]["slots_used"], seen["nodes"]["isolation"]) == (
        2,
        1,
        {"namespaces": 1},
    )
    (shown,) = seen["nodes"]["list"]
    assert (shown["name"], shown["state"], shown["held"]) == ("one", "active", 1)
    assert seen["hour"]["wait_p50"] == pytest.approx(4, rel=0.06)
    await node.complete(job, exit_code=3)
    seen = await api.ok("GET", "/overview")
    assert (seen["hour"]["failed"], seen["hour"]["failures"], seen["jobs"]["failed"]) == (1, {"exit": 1}, 1)
    await api.ok("POST", f"/nodes/{node.id}/drain")
    assert (await api.ok("GET", "/overview"))["nodes"]["draining"] == 1
    api.clock.advance(3600)
    assert (await api.ok("GET", "/overview"))["nodes"]["silent"] == 1


async def test_pending_jobs_are_counted_again_after_a_restart(started: Started) -> None:
    async with started() as api:
        await api.submit(priority=2)
        await api.submit(not_before=60.0)
    async with started() as api:
        assert (await api.ok("GET", "/overview"))["queue"]["priorities"] == {"2": 1, "5": 1}


async def test_a_thousand_nodes_and_a_hundred_thousand_jobs_take_no_time(api: Api) -> None:
    for number in range(1000):
        now = api.clock.now()
        what = {"interpreters": ["python3", "node"], "isolation": "namespaces", "labels": {"rack": str(number % 50)}}
        secrets = ("s", "t", 1, f"http://{number}", what, 4, f"n{number}", "1.0", False, now, now, now + 60, 0, 0)
        api.broker.book.take(Node(f"node-{number}", *secrets, held=number % 5))
    flows = [Flow(json.dumps(["python3", 64 * (n % 200)]), None, n % 10, 0, 1, 100) for n in range(1000)]
    api.broker.tally.restore(flows)
    times = []
    for _ in range(5):
        begun = time.process_time()
        seen = await api.ok("GET", "/overview")
        times.append(time.process_time() - begun)
    assert seen["queue"]["pending"] == 100_000
    assert (seen["nodes"]["known"], seen["nodes"]["unlisted"]) == (1000, 940)
    assert len(json.dumps(seen)) < 64 * 1024
    assert min(times) < 1, "of processor time: a look at every job takes more"


class Stream:
    """Server-sent events, read as they come."""

    def __init__(self) -> None:
        self.status = 0
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue()

    async def next(self, kind: str) -> Any:
        """The data of the next event of a kind."""
        async with asyncio.timeout(LONG_ENOUGH):
            while True:
                for event in (await self.chunks.get()).decode().split("\n\n"):
                    name, _, data = event.partition("\n")
                    if name == f"event: {kind}":
                        return json.loads(data.removeprefix("data: "))


@asynccontextmanager
async def watching(api: Api, topics: str, key: str | None = None) -> AsyncIterator[Stream]:
    stream, gone = Stream(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        stream.status = message.get("status", stream.status)
        await stream.chunks.put(message.get("body", b""))

    scope = {"type": "http", "method": "GET", "path": "/events", "query_string": f"topics={topics}".encode()}
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    call = asyncio.create_task(make_app(api.broker)({**scope, "headers": headers}, receive, send))
    try:
        yield stream
    finally:
        gone.set()
        async with asyncio.timeout(LONG_ENOUGH):
            await call


async def test_who_watches_hears_of_jobs_and_sees_the_overview(api: Api) -> None:
    async with watching(api, "jobs,overview") as stream:
        assert (await stream.next("overview"))["jobs"]["pending"] == 0
        job_id = await api.submit()
        assert await stream.next("jobs") == {"jobs": [[job_id, "pending"]], "more": False}
        assert (await stream.next("overview"))["jobs"]["pending"] == 1
        await api.call("DELETE", f"/jobs/{job_id}")
        assert await stream.next("jobs") == {"jobs": [[job_id, "failed"]], "more": False}
    assert len(api.broker.events) == 0


async def test_a_client_watches_its_own_jobs_and_learns_nothing_of_others(started: Started) -> None:
    async with keyed(started) as api:
        mine, theirs = await api.key("client"), await api.key("client")
        async with watching(api, "jobs,overview", mine) as stream, watching(api, "jobs", api.admin) as admins:
            await stream.next("overview")
            wanted = {"code": "x", "requires": {"labels": {"customer": "acme"}, "region": "mars", "gpu": True}}
            foreign = (await api.ok("POST", "/submit", wanted, key=theirs))["job_id"]
            assert (await admins.next("jobs"))["jobs"] == [[foreign, "pending"]]
            own = (await api.ok("POST", "/submit", {"code": "x"}, key=mine))["job_id"]
            assert (await stream.next("jobs"))["jobs"] == [[own, "pending"]]
            while len((seen := await stream.next("overview"))["queue"]["classes"]) < 2:
                pass
        shown = await api.ok("GET", "/overview", key=mine)
        for told in (seen, shown):
            assert "acme" not in json.dumps(told)
            assert "mars" not in json.dumps(told)
            assert (told["queue"]["pending"], ["GPU"] in [c["wishes"] for c in told["queue"]["classes"]]) == (2, True)
        assert "acme" in json.dumps(await api.ok("GET", "/overview", key=api.admin))


async def test_clients_leave_room_for_each_other_and_for_admins(started: Started) -> None:
    async with keyed(started) as api:
        hub = api.broker.events
        watchers = [hub.begin(jobs=True, overview=False, owner=f"o{n // OWN_WATCHERS}") for n in range(CLIENT_WATCHERS)]
        refused = await api.call("GET", "/events", key=await api.key("client"))
        assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
        hub.end(watchers.pop())
        with pytest.raises(OverloadedError):
            hub.begin(jobs=True, overview=False, owner="o0")
        async with watching(api, "jobs", await api.key("client")) as one, watching(api, "jobs", api.admin) as two:
            assert await one.chunks.get() == await two.chunks.get() == b""
            assert (one.status, two.status) == (200, 200)
        for watcher in watchers:
            hub.end(watcher)


async def test_many_changes_make_one_message_that_says_more(api: Api) -> None:
    async with watching(api, "jobs") as stream:
        assert await stream.chunks.get() == b""
        await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x"}] * (MAX_JOBS + 50)})
        told = await stream.next("jobs")
        assert (len(told["jobs"]), told["more"]) == (MAX_JOBS, True)


async def test_a_stop_ends_every_stream_and_too_many_are_refused(api: Api) -> None:
    watchers = [api.broker.events.begin(jobs=True, overview=False) for _ in range(MAX_WATCHERS)]
    refused = await api.call("GET", "/events")
    assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
    api.broker.events.end(watchers.pop())
    async with watching(api, "jobs") as stream:
        assert await stream.chunks.get() == b""
        api.broker.begin_stop()
        async with asyncio.timeout(LONG_ENOUGH):
            while await stream.chunks.get():
                pass
        assert stream.status == 200
    for watcher in watchers:
        api.broker.events.end(watcher)


async def test_a_job_is_found_by_what_it_is_made_of(api: Api) -> None:
    one = await api.submit("print('sieve 100%')", labels={"course": "Algebra"}, submitter="ann")
    two = await api.submit("puts 1", interpreter="ruby")
    node = await api.node("ruby")
    (job,) = await node.claim()
    await node.complete(job, exit_code=1, failure="exit")

    async def found(**query: str) -> list[str]:
        return [job["job_id"] for job in (await api.ok("GET", "/jobs", params=query))["jobs"]]

    assert await found(text="100%") == [one]
    assert await found(text="0_") == []
    assert await found(text="algebra") == [one]
    assert await found(text=one[:30]) == [one]
    assert await found(text="ANN") == [one]
    assert await found(interpreter="ruby") == [two]
    assert await found(failure="exit") == [two]
    assert await found(node=node.id) == [two]
    assert await found(text="puts", interpreter="python3") == []


async def test_what_was_submitted_can_be_submitted_again(api: Api) -> None:
    given: dict[str, Any] = {
        "code": "print(input())",
        "args": ["a"],
        "stdin": "x",
        "files": {"d.bin": {"base64": "AAEC"}},
        "env": {"A": "b"},
        "memory_mb": 100,
        "timeout": 7.0,
        "priority": 3,
        "max_retries": 2,
        "retry_on": ["exit", "timeout"],
        "labels": {"k": "v"},
        "submitter": "ann",
        "cache": True,
        "requires": {"gpu": True, "labels": {"rack": "7"}},
        "prefer": {"region": "eu"},
    }
    job_id = (await api.ok("POST", "/submit", given))["job_id"]
    said = await api.ok("GET", f"/jobs/{job_id}/input")
    assert said.pop("job_id") == job_id
    assert said == given | {"interpreter": "python3"}
    again = (await api.ok("POST", "/submit", said))["job_id"]
    repeated = await api.ok("GET", f"/jobs/{again}/input")
    assert repeated == said | {"job_id": again}


@pytest.mark.parametrize("said", [{"a": 1}, ["namespaces"], 7, "x" * 5000])
async def test_a_node_may_say_anything_of_its_isolation(api: Api, said: Any) -> None:
    await api.node(capabilities={"isolation": said})
    nodes = (await api.ok("GET", "/overview"))["nodes"]
    told = said[:64] if isinstance(said, str) else None
    assert (nodes["isolation"], nodes["list"][0]["isolation"]) == ({told or "unknown": 1}, told)


async def test_watchers_are_told_again_after_an_overview_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(events, "QUIET_SECONDS", 0.0)
    answers: list[dict[str, Any] | None] = [{"n": 1}, None, {"n": 2}]

    def overview() -> dict[str, Any]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            raise TypeError("unhashable")
        return answer

    hub = EventHub(overview)
    watcher = hub.begin(jobs=False, overview=True)
    async with asyncio.timeout(10):
        assert [await watcher.news() for _ in range(2)] == [(None, b'{"n":1}'), (None, b'{"n":2}')]
    hub.end(watcher)
