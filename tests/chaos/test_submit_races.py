"""Submitting the same thing several times at once: keys, cached results, deadlines, batches with repetitions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from chaos.node import SimNode
from chaos.rig import Scenario

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_one_key_sent_fifty_times_at_once_makes_one_job(scenario: Make) -> None:
    async with scenario() as s:
        for number in range(10):
            clients = [s.client(f"copy-{n}") for n in range(50)]
            jobs = await asyncio.gather(*(client.submit("ok", key=f"key-{number}") for client in clients))
            assert len(set(jobs)) == 1
            for client in clients:
                client.close()
        assert len(s.audit().jobs) == 10


async def test_a_key_survives_a_restart(scenario: Make) -> None:
    async with scenario() as s:
        client = s.client()
        job = await client.submit("ok", key="kept")
        await s.restart()
        assert await client.submit("ok", key="kept") == job
        other = await client.call("submit", "POST", "/submit", {"code": "exit 1"}, headers="idempotency-key: kept\r\n")
        assert other.status == 409


async def test_identical_jobs_at_once_run_once(scenario: Make) -> None:
    async with scenario() as s:
        clients = [s.client(f"client-{n}") for n in range(40)]
        node = s.node(slots=4)
        s.work(node)
        jobs = await asyncio.gather(*(client.submit("ok same", cache=True) for client in clients))
        results = await asyncio.gather(*(client.result(job) for client, job in zip(clients, jobs, strict=True)))
        assert len({result["output"] for result in results}) == 1
        rows = s.audit()
        assert sum(row["fence"] for row in rows.jobs.values()) == 1, "one run for all"
        assert len(rows.jobs) == 40


async def test_followers_of_a_failed_leader_run_by_themselves(scenario: Make) -> None:
    async with scenario() as s:
        client = s.client()
        jobs = [await client.submit("exit 5", cache=True) for _ in range(4)]
        s.work(s.node())
        for job in jobs:
            result = await client.result(job)
            assert (result["status"], result["exit_code"]) == ("failed", 5)
        assert [row["fence"] for row in s.audit().jobs.values()] == [1, 1, 1, 1]


async def test_a_cancelled_leader_hands_over_across_a_crash(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        client, node = s.client(), await s.registered()
        leader, heir, last = [await client.submit("ok same", cache=True) for _ in range(3)]
        (run,) = await node.claim()
        assert run.job_id == leader
        assert await node.claim() == [], "the others wait for it"
        await client.cancel(leader)
        node.held.pop(run.ref)
        await s.broker.arm("after_commit")
        lost = await node.claim_call()
        await s.broker.wait_ended(60)
        await s.restart()
        (run,) = node.take(await node.claim_call(number=lost.request["claim_number"]))
        assert run.job_id == heir
        await node.complete(run)
        assert (await client.result(last))["output"] == (await client.result(heir))["output"]
        assert (await client.result(leader))["failure"] == "cancelled"


async def test_a_deadline_and_a_claim_never_both_win(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        client, node = s.client(), await s.registered(slots=4)  # without a node they would be rejected
        jobs = [await client.submit(f"ok {n}", deadline=0.2 + n * 0.02) for n in range(60)]
        loop = asyncio.get_running_loop()
        until = loop.time() + 2.5
        while loop.time() < until:
            for run in await node.claim(wait=0.1):
                await node.complete(run)
        results = [await client.result(job) for job in jobs]
        ends = Counter((result["status"], result.get("failure")) for result in results)
        assert set(ends) <= {("completed", None), ("failed", "expired")}
        assert sum(row["fence"] for row in s.audit().jobs.values()) == ends["completed", None]


async def test_a_batch_of_results_with_repetitions_and_strangers_is_judged_one_by_one(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        await s.client().submit_many(["ok a", "ok b", "ok c"])
        node, other = await s.registered("node", slots=4), await s.registered("other", slots=4)
        first, second = await node.claim(max_jobs=2)
        (third,) = await other.claim()
        completions = [node.outcome(run) for run in (first, first, second, third)]
        completions.append(node.outcome(first) | {"job_id": "no-such-job"})
        call = await node.call(
            "complete_batch", "POST", "/complete/batch", node.identity() | {"completions": completions}
        )
        words = [result["status"] for result in call.body["results"]]
        assert words == ["ok", "duplicate", "ok", "stale_lease", "unknown_job"]
        await _finish(other, third)


async def _finish(node: SimNode, run: object) -> None:
    for held in list(node.held.values()):
        if held is run:
            await node.complete(held)


async def test_a_batch_with_one_bad_job_stores_nothing(scenario: Make) -> None:
    async with scenario() as s:
        body = {"jobs": [{"code": "ok"}] * 20 + [{"code": "ok", "timeout": 10_000_000}]}
        call = await s.client().call("submit_batch", "POST", "/submit/batch", body)
        assert call.status == 422
        assert s.audit().jobs == {}
