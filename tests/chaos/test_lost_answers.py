"""Requests arrive, answers do not (scenarios 5, 7 and 9): everything can be sent again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chaos.actors import Actor
from chaos.proxy import LossyProxy
from chaos.rig import Scenario
from support.history import Call

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def lost_answer(network: LossyProxy, actor: Actor, asked: Coroutine[Any, Any, Call]) -> Call:
    """A call whose answer the network swallows, and that is given up then."""
    network.mode = "lose_answers"
    network.answer_lost.clear()
    asking = asyncio.create_task(asked)
    await asyncio.wait_for(network.answer_lost.wait(), 60)
    actor.close()
    call = await asking
    assert call.status is None
    network.mode = "pass"
    return call


async def test_a_claim_whose_answer_was_lost_gives_the_same_attempts_again(scenario: Make) -> None:
    async with scenario() as s, LossyProxy(s.broker.port) as network:
        jobs = set(await s.client().submit_many([f"ok {n}" for n in range(3)]))
        node = s.node(slots=3, port=network.port)
        await node.register()
        lost = await lost_answer(network, node, node.claim_call(max_jobs=3))
        again = node.take(await node.claim_call(max_jobs=3, number=lost.request["claim_number"]))
        assert {run.job_id for run in again} == jobs
        assert {run.fence for run in again} == {1}, "the first answer's attempts, not new ones"
        for run in again:
            assert (await node.complete(run)).status == 200


async def test_a_claim_that_the_node_gave_up_is_put_back_by_its_next_beat(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s, LossyProxy(s.broker.port) as network:
        job = await s.client().submit("ok")
        node, other = s.node("forgetful", port=network.port), await s.registered("other")
        await node.register()
        await lost_answer(network, node, node.claim_call())
        assert await other.claim() == [], "the broker believes that the first node has it"
        node.claims_done = node.claim_number
        assert (await node.beat()).ok
        (run,) = await other.claim(wait=20)
        assert (run.job_id, run.fence) == (job, 2)
        await other.complete(run)
        status = await s.client().status(job)
        assert status["status"] == "completed"
        rows = s.audit()
        assert rows.jobs[job]["attempt"] == 1, "an attempt that nobody ran is given back"
        assert rows.jobs[job]["losses"] == 0


async def test_a_claim_in_flight_is_not_put_back_by_a_beat(scenario: Make) -> None:
    async with scenario() as s, LossyProxy(s.broker.port) as network:
        await s.client().submit("ok")
        node = s.node(port=network.port)
        await node.register()
        lost = await lost_answer(network, node, node.claim_call())
        for _ in range(3):  # claims_done is still below that claim's number
            assert (await node.beat()).body["lost"] == []
        (run,) = node.take(await node.claim_call(number=lost.request["claim_number"]))
        assert run.fence == 1
        assert (await node.complete(run)).status == 200


async def test_a_result_whose_answer_was_lost_is_a_duplicate_the_second_time(scenario: Make) -> None:
    async with scenario() as s, LossyProxy(s.broker.port) as network:
        job = await s.client().submit("exit 7")
        node = s.node(port=network.port)
        await node.register()
        (run,) = await node.claim()
        body = node.identity() | node.outcome(run)
        await lost_answer(network, node, node.call("complete", "POST", "/complete", body))
        again = await node.complete(run)
        assert again.status == 200
        assert again.body["duplicate"] is True
        result = await s.client().result(job)
        assert (result["status"], result["exit_code"], result["failure"]) == ("failed", 7, "exit")


async def test_lost_answers_to_beats_still_renew_the_lease(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="4") as s, LossyProxy(s.broker.port) as network:
        job = await s.client().submit("ok")
        node = s.node(port=network.port)
        await node.register()
        (run,) = await node.claim()
        body = node.identity() | {"held": [{"job_id": job, "fence": 1}]}
        until = asyncio.get_running_loop().time() + 6  # longer than the lease
        while asyncio.get_running_loop().time() < until:
            await lost_answer(network, node, node.call("heartbeat", "POST", "/heartbeat", body))
            await asyncio.sleep(0.3)  # the beat's interval
        assert (await node.beat()).body["renewed"] == [{"job_id": job, "fence": 1}]
        assert (await node.complete(run)).status == 200
        assert s.audit().jobs[job]["losses"] == 0


async def test_a_submit_whose_answer_was_lost_makes_one_job(scenario: Make) -> None:
    async with scenario() as s, LossyProxy(s.broker.port) as network:
        client = s.client()
        client.port = network.port
        headers = "idempotency-key: the-same\r\n"
        await lost_answer(network, client, client.call("submit", "POST", "/submit", {"code": "ok"}, headers=headers))
        job = await client.submit("ok", key="the-same")
        assert set(s.audit().jobs) == {job}
        conflict = await client.call("submit", "POST", "/submit", {"code": "exit 1"}, headers=headers)
        assert conflict.status == 409
        assert "error" in conflict.body


@pytest.mark.parametrize("copies", [2, 16])
async def test_copies_of_a_result_in_parallel_count_once(scenario: Make, copies: int) -> None:
    async with scenario() as s:
        jobs = await s.client().submit_many([f"ok {n}" for n in range(8)])
        node = await s.registered(slots=8)
        runs = await node.claim(max_jobs=8)
        bodies = [node.identity() | node.outcome(run) for run in runs for _ in range(copies)]
        calls = await asyncio.gather(*(node.call("complete", "POST", "/complete", body) for body in bodies))
        assert [call.status for call in calls] == [200] * len(bodies)
        firsts = Counter(call.request["job_id"] for call in calls if not call.body.get("duplicate"))
        assert firsts == Counter(jobs), "one answer per job says that it was the first"
        rows = s.audit()
        assert rows.nodes[node.node_id]["jobs_completed"] == 8


async def test_results_out_of_order_are_judged_by_their_fence(scenario: Make) -> None:
    """A delayed copy of the first attempt's result arrives after the second attempt's, and before it."""
    async with scenario() as s:
        job = await s.client().submit("ok")
        first, second = await s.registered("first"), await s.registered("second")
        (old,) = await first.claim()
        await first.release([old])
        (new,) = await second.claim(wait=20)
        stale = first.identity() | first.outcome(old)
        before = await first.call("complete", "POST", "/complete", stale)
        assert (before.status, before.body["reason"]) == (409, "stale_lease")
        assert (await second.complete(new)).status == 200
        after = await first.call("complete", "POST", "/complete", stale)
        assert (after.status, after.body["reason"]) == (409, "stale_lease")
        assert (await s.client().result(job))["output"].endswith("|second")
