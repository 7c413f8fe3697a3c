"""What nodes call beside claims, as docs/node-protocol.md has it: register, beat, start, complete, release."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.rig import Api, Node, Started
from broker.service import sessions

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


async def test_only_so_many_nodes_are_known_and_silent_ones_make_room(started: Started) -> None:
    async with started(max_nodes=4, NODE_TIMEOUT=10) as api:
        first, *_ = [await api.node() for _ in range(4)]
        new = {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}}
        answer = await api.call("POST", "/register", new)
        assert (answer.status_code, answer.json()["reason"]) == (503, "overloaded")
        await api.node(node_id=first.id, secret=first.secret)  # who is known comes back
        await api.pass_time(50)
        assert len(api.broker.book) == 4
        await api.pass_time(25)
        await api.pass_time(1)
        assert len(api.broker.book) == 0, "they have been silent for a minute"
        await api.node()


HUGE = ['{"memory_gb": 1e308}', '{"cpu_cores": 1' + "0" * 400 + "}", '{"max_memory_mb": 1e20}']


@pytest.mark.parametrize("huge", HUGE, ids=["memory_gb", "cpu_cores", "max_memory_mb"])
async def test_a_node_that_offers_numbers_beyond_reckoning_is_refused(api: Api, huge: str) -> None:
    body = f'{{"endpoint": "x", "capabilities": {huge}}}'
    answer = await api.client.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "less than or equal to" in answer.json()["error"]
    assert (await api.ok("GET", "/nodes"))["nodes"] == []


async def test_a_broker_starts_with_whatever_numbers_an_earlier_version_stored(
    started: Started, tmp_path: Path
) -> None:
    async with started() as api:
        nodes = [await api.node() for _ in HUGE]
    with closing(sqlite3.connect(tmp_path / "broker.db")) as database, database:
        for node, huge in zip(nodes, HUGE, strict=True):
            database.execute("UPDATE nodes SET capabilities = ? WHERE id = ?", (huge, node.id))
    async with started() as api:
        assert len((await api.ok("GET", "/nodes"))["nodes"]) == len(HUGE)


async def test_what_nodes_offer_is_bounded_together(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_CAPABILITIES_CHARS", 10_000)
    async with started() as api:
        large = {"interpreters": ["python3"], "more": "x" * 4000}
        node = await api.node(capabilities=large)
        await api.node(capabilities=large)
        assert (await api.call("POST", "/register", {"endpoint": "x", "capabilities": large})).status_code == 503
        same = {"endpoint": "x", "node_id": node.id, "secret": node.secret}
        assert (await api.call("POST", "/register", same | {"capabilities": large})).status_code == 200
        larger = {"capabilities": {"more": "x" * 9000}}
        assert (await api.call("POST", "/register", same | larger)).status_code == 503
        assert (await api.call("POST", "/register", same | {"capabilities": {}})).status_code == 200
        await api.node(capabilities=large)
