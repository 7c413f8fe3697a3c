"""Waiting claims: every pending job finds the node that waits for it, at once, and only once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from chaos.actors import Client
from chaos.node import Run, SimNode
from chaos.rig import Scenario
from support.history import Call
from support.scrape import scrape
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
SOON = 12.0
"""Far above the milliseconds of a wake-up, far below the wait of the claim."""


async def test_no_wake_up_is_lost(scenario: Make) -> None:
    """Jobs come at random moments to nodes that claim without pause; none waits although a node waits for it."""
    chance = random.Random(11)
    async with scenario(NODE_TIMEOUT="60") as s:
        client = s.client()
        kinds = [["python3"], ["python3", "bash"], ["bash"], ["python3"]]
        nodes = [await s.registered(f"node-{n}", slots=2, interpreters=kind) for n, kind in enumerate(kinds)]
        workers = [asyncio.create_task(node.run_all()) for node in nodes]
        slowest = 0.0
        for _ in range(600):
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(chance.random() * 0.004)  # the random moment
            started = asyncio.get_running_loop().time()
            job = await client.submit("ok", interpreter=chance.choice(["python3", "bash"]))
            call = await client.call("results", "GET", f"/results/{job}?wait={SOON:g}")
            assert call.status == 200, f"{job} waited although nodes were waiting: {call.body}"
            slowest = max(slowest, asyncio.get_running_loop().time() - started)
        assert slowest < SOON
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _complete(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    return await node.complete(run)


async def _release(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    return await node.release([run])


async def _cancel(s: Scenario, node: SimNode, run: Run) -> object:
    del node
    return await s.client("canceller").cancel(run.job_id)


async def _beat_without(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    node.held.pop(run.ref)
    return await node.beat()


@pytest.mark.parametrize("relief", [_complete, _release, _cancel, _beat_without])
async def test_a_full_node_that_waits_is_woken_when_it_has_room(
    scenario: Make, relief: Callable[[Scenario, SimNode, Run], Awaitable[object]]
) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        jobs = await s.client().submit_many([f"ok {n}" for n in range(3)])
        node = await s.registered(slots=1)
        held = [*(await node.claim()), *(await node.claim())]
        assert [run.job_id for run in held] == jobs[:2], "its slot, and one ahead"
        waiting = asyncio.create_task(node.claim_call(wait=20))
        await _asked(s, waiting)
        await relief(s, node, held[0])
        async with asyncio.timeout(SOON):
            call = await waiting
        (run,) = node.take(call)
        assert run.job_id in (jobs[2], held[0].job_id)
        for run in list(node.held.values()):
            await node.complete(run)


async def test_a_job_goes_on_when_the_claim_that_it_woke_gets_another(scenario: Make) -> None:
    """One node can run both jobs and is woken for the first, but the second is more urgent: a third node gets the
    first one, not the end of its own wait."""
    async with scenario(NODE_TIMEOUT="60") as s:
        both = await s.registered("both", interpreters=["python3", "bash"])
        bash = await s.registered("bash", interpreters=["bash"])
        python = await s.registered("python", interpreters=["python3"])
        claims = {}
        for node in (both, bash, python):
            claims[node] = asyncio.create_task(node.claim_call(wait=20))
            await _asked(s, claims[node])
        jobs = [{"code": "ok 1"}, {"code": "ok 2", "interpreter": "bash", "priority": 9}]
        answer = await s.client().call("batch", "POST", "/submit/batch", {"jobs": jobs})
        plain, urgent = answer.body["job_ids"]
        async with asyncio.timeout(SOON):
            got = [(node, node.take(await claims[node])) for node in (both, python)]
        assert [[run.job_id for run in runs] for _, runs in got] == [[urgent], [plain]]
        for node, (run,) in got:
            await node.complete(run)
        claims[bash].cancel()


async def test_a_job_goes_on_when_the_node_that_it_woke_drains(scenario: Make) -> None:
    """The submit and the drain are committed together: who was woken has no use for the job."""
    async with scenario(NODE_TIMEOUT="60") as s:
        drained, other = await s.registered("drained"), await s.registered("other")
        claims = {}
        for node in (drained, other):
            claims[node] = asyncio.create_task(node.claim_call(wait=20))
            await _asked(s, claims[node])
        clients = [s.client(f"client-{n}") for n in range(3)]
        await s.broker.arm("begin", "hold")
        first = asyncio.create_task(clients[0].call("resume", "POST", f"/nodes/{other.node_id}/resume", {}))
        await s.broker.wait_held()
        job = asyncio.create_task(clients[1].submit("ok"))
        drain = asyncio.create_task(clients[2].call("drain", "POST", f"/nodes/{drained.node_id}/drain", {}))
        await _asked(s, claims[other])  # the broker has read both
        await s.broker.release()
        async with asyncio.timeout(SOON):
            (run,) = other.take(await claims[other])
            assert run.job_id == await job
            assert (await claims[drained]).body["drain"] is True
        assert (await first).ok
        assert (await drain).ok
        await other.complete(run)


async def _asked(s: Scenario, claim: asyncio.Task[Call]) -> None:
    """The broker has read the claim once it has answered calls that were sent after it."""
    for _ in range(5):
        await asyncio.sleep(0)
        assert (await s.client("probe").call("health", "GET", "/health")).status == 200
    assert not claim.done()


async def test_a_claim_number_sent_twice_at_once_is_granted_once(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        node, other = await s.registered(slots=8), await s.registered("other", slots=8)
        for number in range(1, 80):
            claims = [asyncio.create_task(node.claim_call(wait=20, number=number)) for _ in range(3)]
            if number % 2:
                await _asked(s, claims[-1])
            await s.client().submit_many(["ok a", "ok b", "ok c"])
            calls = await asyncio.gather(*claims)
            granted = {(job["id"], job["fence"]) for call in calls for job in call.body["jobs"]}
            assert len(granted) == 1, f"one claim of one job was granted {granted}"
            node.claim_number = number
            for run in node.take(next(call for call in calls if call.body["jobs"])):
                await node.complete(run)
            for run in await other.claim(max_jobs=8):
                await other.complete(run)


async def test_a_job_for_later_is_handed_out_when_its_time_comes(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        node = await s.registered()
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(node.claim_call(wait=20))
        await _asked(s, waiting)
        submitted = loop.time()
        job = await s.client().submit("ok", not_before=0.7)
        (run,) = node.take(await waiting)
        assert run.job_id == job
        assert 0.7 <= loop.time() - submitted < 0.7 + SOON
        await node.complete(run)


async def test_a_waiting_claim_sees_a_retry_when_its_backoff_is_over(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        await s.client().submit("platform")
        node = await s.registered()
        for fence in range(1, 4):
            (run,) = await node.claim(wait=20)
            assert run.fence == fence
            result = {"failure": None, "exit_code": 0} if fence == 3 else {}
            await node.call("complete", "POST", "/complete", node.identity() | node.outcome(run, **result))
            node.held.pop(run.ref)


async def test_claims_that_come_together_do_not_ask_again_for_every_job(scenario: Make) -> None:
    """Two hundred claims are at the store while jobs keep coming: each job is for one of them, the others wait."""
    async with scenario(NODE_TIMEOUT="60") as s:
        nodes = [await s.registered(f"node-{n}") for n in range(200)]
        clients = [s.client(f"client-{n}") for n in range(4)]
        flows = [asyncio.create_task(_submit_one_by_one(client, 40)) for client in clients]
        claims = [asyncio.create_task(node.claim_call(wait=20, seconds=60)) for node in nodes]
        jobs = [job for flow in flows for job in await flow]

        async def as_many_as_jobs() -> bool:
            return sum(claim.done() for claim in claims) >= len(jobs)

        await eventually(as_many_as_jobs, seconds=15, what="each job finds a claim")
        asked = (await scrape(s.broker.port))("sandrun_broker_claim_seconds_count")
        served = [(node, await claim) for node, claim in zip(nodes, claims, strict=True) if claim.done()]
        runs = [(node, run) for node, call in served for run in node.take(call)]
        assert {run.job_id for _, run in runs} == set(jobs)
        await asyncio.gather(*(node.complete(run) for node, run in runs))
        assert await s.broker.terminate() == 0  # sends those who got nothing home
        await asyncio.gather(*claims)
        # Each claim asks once, and again when it is woken for a job; a few may be woken for nothing.
        assert asked <= len(nodes) + 1.25 * len(jobs), asked


async def _submit_one_by_one(client: Client, count: int) -> list[str]:
    return [await client.submit("ok") for _ in range(count)]
