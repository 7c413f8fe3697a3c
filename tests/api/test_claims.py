"""What a claim brings, how long it waits, and to whom a job goes; docs/node-protocol.md has it."""

import asyncio
from typing import Any

import pytest

from api.rig import Api
from broker.store.records.attempt import ClaimGrant, ClaimRequest

pytestmark = pytest.mark.anyio


async def until_waiting(api: Api, claims: int = 1) -> None:
    while len(api.broker.queue) < claims:  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)


async def test_a_waiting_claim_gets_the_job_that_comes(api: Api) -> None:
    node = await api.node()
    waiting = asyncio.create_task(node.claim(wait=20))
    await until_waiting(api)
    job_id = await api.submit()
    assert [job["id"] for job in await waiting] == [job_id]


async def test_a_claim_waits_no_longer_than_it_said(api: Api) -> None:
    node = await api.node()
    assert await node.claim(wait=0.05) == []


async def test_many_wait_and_one_job_goes_to_one(api: Api) -> None:
    nodes = [await api.node() for _ in range(30)]
    waiting = [asyncio.create_task(node.claim(wait=20)) for node in nodes]
    await until_waiting(api, 30)
    await api.submit()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    api.broker.begin_stop()  # sends the others home
    got = await asyncio.gather(*waiting)
    assert sorted(len(jobs) for jobs in got) == [0] * 29 + [1]


async def test_a_repeated_claim_number_gets_the_same_attempts(api: Api) -> None:
    node = await api.node()
    for number in range(3):
        await api.submit(str(number))
    first = await node.claim(max_jobs=2)
    node.claims -= 1
    assert await node.claim(max_jobs=2) == first
    assert [job["code"] for job in await node.claim(max_jobs=2)] == ["2"]


async def test_a_newer_claim_ends_the_waiting_one(api: Api) -> None:
    node = await api.node()
    older = asyncio.create_task(node.claim(wait=20))
    await until_waiting(api)
    newer = asyncio.create_task(node.claim(wait=20))
    assert await older == []
    await api.submit()
    assert len(await newer) == 1


async def test_no_session_gets_more_than_its_slots_and_one_ahead_for_each(api: Api) -> None:
    node = await api.node(slots=2)
    for number in range(6):
        await api.submit(str(number))
    jobs = await node.claim(max_jobs=64)
    assert len(jobs) == 4
    waiting = asyncio.create_task(node.claim(wait=20))
    await until_waiting(api)
    await node.complete(jobs[0])
    assert len(await waiting) == 1, "room lets the waiting claim go on"


async def test_a_caller_who_hung_up_gets_no_job(api: Api) -> None:
    """The claim waits, its caller goes away, then a job comes: the next caller gets it."""
    app: Any = api.client._transport.app  # type: ignore[attr-defined]
    node = await api.node()
    body = f'{{"node_id":"{node.id}","session":"{node.session}","claim_number":1,"wait":20}}'.encode()
    hung_up = asyncio.Event()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/claim",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    call = asyncio.create_task(app(scope, receive, send))
    await until_waiting(api)
    hung_up.set()
    await asyncio.wait_for(call, 15)
    assert b'"jobs":[]' in sent[1]["body"]
    job_id = await api.submit()
    other = await api.node()
    assert [job["id"] for job in await other.claim()] == [job_id]


async def test_a_claim_that_the_node_has_given_up_gets_nothing(api: Api) -> None:
    node = await api.node()
    await node.beat(claims_done=3)
    await api.submit()
    late = {**node.who, "claim_number": 3, "wait": 5}
    assert (await api.ok("POST", "/claim", late))["jobs"] == []
    node.claims = 3
    assert len(await node.claim()) == 1


@pytest.mark.parametrize("news", ["room", "drain"])
async def test_news_that_come_while_a_claim_is_being_answered_are_not_missed(
    api: Api, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    """The store found the node full; before the claim begins to wait, room (or a drain) comes."""
    node = await api.node(slots=1)
    jobs = [await api.submit() for _ in range(3)]
    held = [*await node.claim(), *await node.claim()]
    store_claim = api.broker.store.claim

    async def overtaken(request: ClaimRequest, now: float) -> ClaimGrant:
        granted = await store_claim(request, now)
        if granted.full:
            if news == "room":
                await node.complete(held[0])
            else:
                await api.ok("POST", f"/nodes/{node.id}/drain")
        return granted

    monkeypatch.setattr(api.broker.store, "claim", overtaken)
    async with asyncio.timeout(15):
        got = await node.claim(wait=20)
    assert [job["id"] for job in got] == (jobs[2:] if news == "room" else [])


async def test_a_drained_node_gets_nothing_until_it_is_resumed(api: Api) -> None:
    node = await api.node()
    await api.submit()
    waiting_node = await api.node("ruby")
    waiting = asyncio.create_task(api.ok("POST", "/claim", {**waiting_node.who, "claim_number": 1, "wait": 20}))
    await until_waiting(api)
    for drained in (node, waiting_node):
        await api.ok("POST", f"/nodes/{drained.id}/drain")
    assert await waiting == {"job": None, "jobs": [], "drain": True}
    assert (await node.beat())["drain"] is True
    assert await node.claim() == []
    again = await api.node(node_id=node.id, secret=node.secret)
    assert await again.claim() == [], "a restart does not end a drain"
    await api.ok("POST", f"/nodes/{node.id}/resume")
    assert len(await again.claim()) == 1
    assert (await api.call("POST", "/nodes/nobody/drain")).status_code == 404


async def test_a_leaving_node_gets_nothing(api: Api) -> None:
    node = await api.node()
    await api.submit()
    await node.beat(draining=True)
    assert await node.claim() == []


async def test_jobs_go_where_they_can_run(api: Api) -> None:
    gpu = await api.node(
        "python3", capabilities={"gpu": True, "max_memory_mb": 4096, "labels": {"disk": "ssd"}, "region": "eu"}
    )
    plain = await api.node("python3", capabilities={"max_memory_mb": 512})
    wanted = [
        await api.submit("gpu", requires={"gpu": True}),
        await api.submit("memory", memory_mb=2048),
        await api.submit("label", requires={"labels": {"disk": "ssd"}}),
        await api.submit("region", requires={"region": "eu"}),
    ]
    assert await plain.claim(max_jobs=10) == []
    assert [job["id"] for job in await gpu.claim(max_jobs=10)] == wanted


async def test_an_interpreter_that_a_node_offers_can_be_submitted(api: Api) -> None:
    refused = await api.call("POST", "/submit", {"code": "x", "interpreter": "lua5.4"})
    assert refused.status_code == 422
    node = await api.node("lua5.4")
    job_id = await api.submit("x", interpreter="lua5.4")
    assert [job["id"] for job in await node.claim()] == [job_id]
