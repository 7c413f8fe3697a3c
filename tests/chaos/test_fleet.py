"""Many nodes at once (scenarios 22 and 23), and fair shares among submitters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chaos.node import SimNode
from chaos.rig import Scenario
from support.history import Call
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
FLEET = 500


async def test_a_fleet_comes_back_after_an_outage_longer_than_the_lease(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="30") as s:
        client = s.client()
        for start in range(0, FLEET, 250):
            await client.submit_many([f"ok {start + n}" for n in range(250)])
        nodes = [s.node(f"node-{n}") for n in range(FLEET)]
        await _in_parallel([node.register() for node in nodes])
        await _in_parallel([node.claim(wait=20) for node in nodes])
        held = {ref for node in nodes for ref in node.held}
        assert len(held) == FLEET
        await s.restart(CHAOS_CLOCK_SHIFT="360")  # the outage, by the wall clock, was twelve leases long
        # They all come at once, with the results that their spools kept.
        beats = await asyncio.gather(*(node.beat() for node in nodes))
        assert {call.status for call in beats} == {200}
        assert all(call.body["lost"] == [] for call in beats), "nobody was evicted by the broker's own outage"
        runs = [(node, run) for node in nodes for run in list(node.held.values())]
        calls = await asyncio.gather(*(node.complete(run) for node, run in runs))
        assert {call.status for call in calls} == {200}
        rows = s.audit()
        assert {row["status"] for row in rows.jobs.values()} == {"completed"}
        assert sum(row["losses"] for row in rows.jobs.values()) == 0


async def test_five_hundred_come_back_at_once_while_a_client_submits(scenario: Make) -> None:
    """No jitter, from before the broker listens: half in their sessions, half as new processes of the same nodes."""
    async with scenario(NODE_TIMEOUT="60") as s:
        client = s.client()
        jobs = await client.submit_many([f"ok {n}" for n in range(FLEET)])
        nodes = [s.node(f"node-{n}") for n in range(FLEET)]
        await _in_parallel([node.register() for node in nodes])
        await _in_parallel([node.claim(wait=20) for node in nodes])
        assert sum(len(node.held) for node in nodes) == FLEET
        await s.broker.kill()
        s.history.mark("restarted")
        fleet = asyncio.gather(*(_come_back(node, anew=n % 2 == 0) for n, node in enumerate(nodes)))
        start = asyncio.create_task(s.broker.start())
        while not fleet.done():
            jobs.append(await asyncio.wait_for(client.submit("ok"), 60))
        await asyncio.gather(fleet, start)
        body = (await client.insist("nodes", "GET", "/nodes")).body["nodes"]
        assert [node["active"] for node in body] == [True] * FLEET
        s.work(s.node("last", slots=8))
        await asyncio.gather(*(client.result(job, seconds=60) for job in jobs[-20:]))
        ended = await client.insist("results_batch", "POST", "/results/batch", {"job_ids": jobs[:FLEET]})
        assert {result["status"] for result in ended.body["results"]} == {"completed"}


async def _come_back(node: SimNode, *, anew: bool) -> None:
    """Register or beat until it is answered, deliver what is held, and claim once."""
    if anew:
        await node.register()
    await eventually(lambda: _beats(node), seconds=120, what=f"{node.name} is back")
    for run in list(node.held.values()):
        assert (await node.complete(run)).ok
    for run in await node.claim(wait=1, seconds=60):
        await node.complete(run)


async def _beats(node: SimNode) -> bool:
    return (await node.beat()).ok


async def _in_parallel(actions: list[Coroutine[Any, Any, object]], width: int = 50) -> None:
    gate = asyncio.Semaphore(width)

    async def one(action: Coroutine[Any, Any, object]) -> None:
        async with gate:
            await action

    await asyncio.gather(*(one(action) for action in actions))


async def test_one_job_wakes_one_of_five_hundred_waiting_claims(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        nodes = [s.node(f"node-{n}") for n in range(FLEET)]
        await _in_parallel([node.register() for node in nodes])
        claims = [asyncio.create_task(node.claim_call(wait=20)) for node in nodes]
        await _waiting(s, claims)
        job = await s.client().submit("ok")
        first = await _first_grant(claims)
        assert [given["id"] for given in first.body["jobs"]] == [job]
        (winner,) = [node for node, claim in zip(nodes, claims, strict=True) if claim.done()]
        (run,) = winner.take(first)
        await winner.complete(run)
        assert await s.broker.terminate() == 0  # sends the others home
        calls = await asyncio.gather(*claims)
        assert {call.status for call in calls} <= {200, 503}
        assert sum(len(call.body["jobs"]) for call in calls if call.status == 200) == 1


async def _waiting(s: Scenario, claims: list[asyncio.Task[Call]]) -> None:
    """The broker has read all claims once it has answered a call that was sent after them, a few times over."""
    await asyncio.sleep(0)
    probe = s.client("probe")
    for _ in range(10):
        assert (await probe.call("health", "GET", "/health")).status == 200
    assert not any(claim.done() for claim in claims)


async def _first_grant(claims: list[asyncio.Task[Call]]) -> Call:
    for claim in asyncio.as_completed(claims, timeout=15):
        call = await claim
        if call.ok and call.body["jobs"]:
            return call
    raise AssertionError("nobody got the job")


async def test_a_caller_that_hangs_up_as_the_job_arrives_keeps_it_no_longer_than_a_beat(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        flaky, other = await s.registered("flaky"), await s.registered("other")
        for number in range(60):
            hanging = asyncio.create_task(flaky.claim_call(wait=20))
            await _waiting(s, [hanging])
            submit = asyncio.create_task(s.client().submit(f"ok {number}"))
            for _ in range(number % 8):  # hang up at different moments around the job's arrival
                await asyncio.sleep(0)
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
            job = await submit
            flaky.claims_done = flaky.claim_number  # the node has given that claim up
            assert (await flaky.beat()).ok
            runs = await other.claim(wait=1)
            if not runs:  # granted behind that beat's back, to the caller that had gone: the next one tells
                assert (await flaky.beat()).ok
                runs = await other.claim(wait=20)
            (run,) = runs
            assert run.job_id == job
            await other.complete(run)
        rows = s.audit()
        assert {row["status"] for row in rows.jobs.values()} == {"completed"}
        assert sum(row["losses"] for row in rows.jobs.values()) == 0, "nobody's fault, nobody's retry"


async def test_a_submitter_of_ten_thousand_jobs_does_not_delay_anothers_single_one(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        greedy, modest, node = s.client("greedy"), s.client("modest"), await s.registered(slots=8)
        for _ in range(10):
            await greedy.submit_many(["ok"] * 1000, submitter="greedy")
        for _ in range(5):
            for run in await node.claim(max_jobs=8):
                await node.complete(run)
        for turn in range(5):
            job = await modest.submit("ok", submitter=f"modest-{turn}")
            assert await _claims_until(s, node, job) <= 3
        bulk = await modest.submit_many(["ok"] * 200, submitter="second")
        order = [await _claims_until(s, node, job) for job in bulk[:20]]
        assert sum(order) <= 60, "two bulk submitters take turns"


async def _claims_until(s: Scenario, node: SimNode, job: str) -> int:
    """How many claims of one job each it takes until `job` is handed out."""
    del s
    for count in range(1, 200):
        (run,) = await node.claim()
        await node.complete(run)
        if run.job_id == job:
            return count
    raise AssertionError(f"{job} was not handed out within 200 claims")


async def test_a_stuck_flow_does_not_let_a_late_bulk_overtake_an_early_one(scenario: Make) -> None:
    """Pending jobs that no node can run must not hold the virtual clock back."""
    async with scenario(NODE_TIMEOUT="60") as s:
        client, node = s.client(), await s.registered(slots=8)
        for n in range(20):
            await client.submit_many(["stuck"] * 50, submitter=f"stuck-{n}", interpreter="ruby")
        first = await client.submit_many(["ok"] * 400, submitter="early")
        for _ in range(200):
            (run,) = await node.claim()
            assert run.job_id in first
            await node.complete(run)
        late = set(await client.submit_many(["ok"] * 400, submitter="late"))
        given = []
        for _ in range(100):
            (run,) = await node.claim()
            given.append(run.job_id in late)
            await node.complete(run)
        assert 30 <= sum(given) <= 70, f"the two take turns; the late one got {sum(given)} of 100"
