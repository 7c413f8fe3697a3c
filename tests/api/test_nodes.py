"""What nodes call, as docs/node-protocol.md has it."""

import asyncio
from typing import Any

import pytest

from api.rig import Api, Node, Started
from broker.store.records.attempt import ClaimGrant, ClaimRequest

pytestmark = pytest.mark.anyio


async def test_a_node_that_sends_only_the_old_fields_is_served(api: Api) -> None:
    said = await api.ok(
        "POST",
        "/register",
        {
            "endpoint": "http://localhost:8443",
            "capabilities": {"cpu_cores": 4, "memory_gb": 8, "gpu": False, "interpreters": ["python3"]},
        },
    )
    node_id = said["node_id"]
    jobs = [await api.submit(str(number)) for number in range(20)]
    assert (await api.ok("POST", "/heartbeat", {"node_id": node_id}))["status"] == "ok"
    got = [(await api.ok("POST", "/claim", {"node_id": node_id}))["job"] for _ in jobs]
    assert [job["id"] for job in got] == jobs
    assert {"id", "code", "interpreter", "args"} <= got[0].keys()
    for job in got:
        body = {"node_id": node_id, "job_id": job["id"], "output": "o", "error": "", "exit_code": 0}
        assert await api.ok("POST", "/complete", body) == {"status": "ok"}
        assert await api.ok("POST", "/complete", body) == {"status": "ok", "duplicate": True}
    assert await api.ok("POST", "/claim", {"node_id": node_id}) == {"job": None, "jobs": []}
    (node,) = (await api.ok("GET", "/nodes"))["nodes"]
    assert (node["id"], node["jobs_completed"], node["jobs_failed"], node["active"]) == (node_id, 20, 0, True)
    assert node["capabilities"] == {"cpu_cores": 4, "memory_gb": 8, "gpu": False, "interpreters": ["python3"]}


async def test_registering(api: Api) -> None:
    first = await api.node()
    other = await api.node()
    assert first.id != other.id, "the same endpoint makes two nodes"
    back = await api.node(node_id=first.id, secret=first.secret)
    assert (back.id, back.secret) == (first.id, None)
    wrong = await api.call(
        "POST", "/register", {"endpoint": "x", "capabilities": {}, "node_id": first.id, "secret": "guess"}
    )
    assert (wrong.status_code, wrong.json()["reason"]) == (403, "wrong_secret")
    unknown = await api.node(node_id="node-of-another-database", secret="s")
    assert unknown.id != "node-of-another-database"
    assert unknown.secret is not None


@pytest.mark.parametrize("half", [r"\ud800", r"\udbff", r"\uDC00", r"\udfff"])
async def test_half_a_utf16_pair_in_an_output_is_mended(api: Api, half: str) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    head = f'{{"node_id": "{node.id}", "job_id": "{job["id"]}", "error": "", "exit_code": 0, "output": "a'
    answer = await api.client.post(
        "/complete", content=f'{head}{half}b"}}', headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await api.ok("GET", f"/results/{job_id}"))["output"] == "a\ufffdb"


async def test_an_ended_session_is_told_so(api: Api) -> None:
    old = await api.node()
    job_id = await api.submit()
    (job,) = await old.claim()
    new = await api.node(node_id=old.id, secret=old.secret)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/heartbeat", {}),
        ("/claim", {}),
        ("/start", {"jobs": []}),
        ("/release", {"jobs": []}),
        ("/link", {}),
    ]
    for path, extra in calls:
        response = await api.call("POST", path, {**old.who, **extra})
        assert (response.status_code, response.json()["reason"]) == (409, "session_ended"), path
    assert (await old.complete(job)).json()["reason"] == "session_ended"
    (again,) = await new.claim()
    assert (again["id"], again["fence"], again["attempt"]) == (job_id, 2, 2)


@pytest.mark.parametrize(
    "path", ["/heartbeat", "/claim", "/start", "/complete", "/complete/batch", "/release", "/link"]
)
async def test_an_unknown_node_is_told_to_register(api: Api, path: str) -> None:
    body = {"node_id": "nobody", "jobs": [], "job_id": "x", "completions": []}
    response = await api.call("POST", path, body)
    assert (response.status_code, response.json()["reason"]) == (404, "unknown_node")


async def test_a_waiting_claim_gets_the_job_that_comes(api: Api) -> None:
    node = await api.node()
    waiting = asyncio.create_task(node.claim(wait=20))
    while not len(api.broker.queue):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
    job_id = await api.submit()
    assert [job["id"] for job in await waiting] == [job_id]


async def test_a_claim_waits_no_longer_than_it_said(api: Api) -> None:
    node = await api.node()
    assert await node.claim(wait=0.05) == []


async def test_many_wait_and_one_job_goes_to_one(api: Api) -> None:
    nodes = [await api.node() for _ in range(30)]
    waiting = [asyncio.create_task(node.claim(wait=1)) for node in nodes]
    while len(api.broker.queue) < 30:  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
    await api.submit()
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
    while not len(api.broker.queue):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
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
    while not len(api.broker.queue):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
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
    while not len(api.broker.queue):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
    hung_up.set()
    await asyncio.wait_for(call, 5)
    assert b'"jobs":[]' in sent[1]["body"]
    job_id = await api.submit()
    other = await api.node()
    assert [job["id"] for job in await other.claim()] == [job_id]


async def test_a_heartbeat_reconciles(api: Api) -> None:
    node, other = await api.node(), await api.node()
    kept, lost_answer, cancelled = [await api.submit(str(n)) for n in range(3)]
    first, second, third = await node.claim(max_jobs=3)
    node.claims = 2
    renewed = await node.beat(first, third, claims_done=0)
    assert [ref["job_id"] for ref in renewed["renewed"]] == [kept, cancelled]
    assert (await api.status(lost_answer))["status"] == "assigned", "the claim's answer may still be on its way"
    await node.beat(first, third, claims_done=1)
    assert (await api.status(lost_answer))["status"] == "pending"
    (again,) = await other.claim()
    assert (again["id"], again["attempt"]) == (lost_answer, 1), "no attempt was used up"
    await api.call("DELETE", f"/jobs/{cancelled}")
    answer = await node.beat(first, second, third, {"id": "nobody", "fence": 3}, claims_done=1)
    reasons = {lost["job_id"]: lost["reason"] for lost in answer["lost"]}
    assert reasons == {lost_answer: "rescued", cancelled: "cancelled", "nobody": "unknown_job"}
    assert [ref["job_id"] for ref in answer["renewed"]] == [kept]


async def test_a_claim_that_the_node_has_given_up_gets_nothing(api: Api) -> None:
    node = await api.node()
    await node.beat(claims_done=3)
    await api.submit()
    late = {**node.who, "claim_number": 3, "wait": 5}
    assert (await api.ok("POST", "/claim", late))["jobs"] == []
    node.claims = 3
    assert len(await node.claim()) == 1


async def test_a_beat_without_a_list_renews_everything(api: Api) -> None:
    node = await api.node()
    await api.submit()
    (job,) = await node.claim()
    answer = await api.ok("POST", "/heartbeat", {"node_id": node.id})
    assert answer["renewed"] == [{"job_id": job["id"], "fence": 1}]


async def test_a_silent_node_loses_its_jobs_and_may_come_back(started: Started) -> None:
    async with started(NODE_TIMEOUT=10) as api:
        silent, other = await api.node(), await api.node()
        job_id = await api.submit()
        (job,) = await silent.claim()
        await api.pass_time(6)
        await other.beat()
        await api.pass_time(5)
        assert (await api.status(job_id))["waiting_for"] == "a free slot"
        active = {node["id"]: node["active"] for node in (await api.ok("GET", "/nodes"))["nodes"]}
        assert active == {silent.id: False, other.id: True}
        (again,) = await other.claim()
        assert (again["fence"], again["attempt"]) == (2, 2)
        late = await silent.complete(job, output="zombie")
        assert (late.status_code, late.json()["reason"]) == (409, "stale_lease")
        back = await silent.beat(job)
        assert back["lost"] == [{"job_id": job_id, "fence": 1, "reason": "rescued"}]
        await other.complete(again, output="right")
        assert (await api.ok("GET", f"/results/{job_id}"))["output"] == "right"


async def test_a_result_between_the_leases_end_and_the_rescue_counts(started: Started) -> None:
    async with started(NODE_TIMEOUT=10) as api:
        node = await api.node()
        job_id = await api.submit()
        (job,) = await node.claim()
        api.clock.advance(60)
        assert (await node.complete(job)).status_code == 200
        assert (await api.status(job_id))["status"] == "completed"


async def test_a_job_runs_after_start_and_ends_as_the_sandbox_says(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    started = {**node.who, "jobs": [{"job_id": job_id, "fence": 1}, {"job_id": job_id, "fence": 9}]}
    answer = await api.ok("POST", "/start", started)
    assert [lost["fence"] for lost in answer["lost"]] == [9]
    assert (await api.status(job_id))["status"] == "running"
    said = {
        "failure": "memory",
        "exit_code": None,
        "signal": 9,
        "output_bytes": 10**6,
        "error_bytes": 0,
        "limit": {"name": "memory", "value": 512, "peak": 513.5},
        "usage": {"wall_seconds": 1.5, "cpu_seconds": 1.0, "memory_peak_bytes": 9},
    }
    await node.complete(job, **said)
    results = await api.ok("GET", f"/results/{job_id}")
    assert {name: results[name] for name in said} == said
    assert results["status"] == "failed"


async def test_completions_in_one_call(api: Api) -> None:
    node = await api.node()
    ids = [await api.submit(str(n)) for n in range(3)]
    jobs = await node.claim(max_jobs=3)
    said = [
        {"job_id": job["id"], "fence": job["fence"], "output": job["code"], "error": "", "exit_code": 0} for job in jobs
    ]
    said[1]["fence"] = 7
    answer = await api.ok("POST", "/complete/batch", {**node.who, "completions": [*said, {"job_id": "nobody"}]})
    assert [result["status"] for result in answer["results"]] == ["ok", "stale_lease", "ok", "unknown_job"]
    assert (await api.status(ids[1]))["status"] == "assigned"


async def test_release_puts_back_unrun(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit(max_retries=0)
    for fence in (1, 2, 3):
        (job,) = await node.claim()
        assert (job["fence"], job["attempt"]) == (fence, 1)
        body = {
            **node.who,
            "reason": "full",
            "jobs": [{"job_id": job_id, "fence": fence}, {"job_id": job_id, "fence": 99}],
        }
        assert (await api.ok("POST", "/release", body))["released"] == [{"job_id": job_id, "fence": fence}]


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
    async with asyncio.timeout(5):
        got = await node.claim(wait=20)
    assert [job["id"] for job in got] == (jobs[2:] if news == "room" else [])


async def test_a_drained_node_gets_nothing_until_it_is_resumed(api: Api) -> None:
    node = await api.node()
    await api.submit()
    waiting_node = await api.node("ruby")
    waiting = asyncio.create_task(api.ok("POST", "/claim", {**waiting_node.who, "claim_number": 1, "wait": 20}))
    while not len(api.broker.queue):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
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


async def test_after_a_restart_nodes_and_jobs_go_on(started: Started) -> None:
    async with started(NODE_TIMEOUT=30) as api:
        node = await api.node()
        running, waiting = await api.submit("a"), await api.submit("b")
        (job,) = await node.claim()
        clock = api.clock
    clock.advance(3600)
    async with started(clock=clock, NODE_TIMEOUT=30) as api:
        again = Node(api, {"node_id": node.id, "session": node.session})
        again.claims = node.claims
        await api.pass_time(29)
        assert (await api.status(running))["status"] == "assigned", "an outage evicts nobody"
        assert (await again.complete(job, output="spooled")).status_code == 200
        assert [job["id"] for job in await again.claim()] == [waiting]
        assert (await api.ok("GET", "/health"))["jobs_by_status"] == {
            "pending": 0,
            "assigned": 1,
            "running": 0,
            "completed": 1,
            "failed": 0,
        }


async def test_a_new_node_whose_answer_was_lost_is_the_same_node_at_its_next_try(api: Api) -> None:
    key = "k" * 32
    first, again = await api.node(idempotency_key=key), await api.node(idempotency_key=key)
    assert (again.id, again.secret) == (first.id, first.secret)
    assert first.secret is not None
    assert (await api.ok("GET", "/nodes"))["nodes"][0]["session_number"] == 2
    assert len((await api.ok("GET", "/nodes"))["nodes"]) == 1
    other = await api.node(idempotency_key="l" * 32)
    assert (other.id != first.id, other.secret != first.secret) == (True, True)
    back = await api.node(node_id=first.id, secret=first.secret, idempotency_key="m" * 32)
    assert (back.id, back.secret) == (first.id, None), "a node that comes back needs no key"
    short = {"endpoint": "x", "capabilities": {}, "idempotency_key": "guessable"}
    assert (await api.call("POST", "/register", short)).status_code == 422
