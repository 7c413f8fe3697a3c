"""Verified jobs while nodes lie, come back, die and the broker is killed. The auditor adds up every job's results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from chaos.node import SimNode
from chaos.rig import Scenario

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
SOON = 15.0
"""Far above the milliseconds of a few wake-ups, far below the wait of the claims."""
PLANS: list[dict[str, Any]] = [{"replicas": 2}, {"replicas": 3}, {"replicas": 4, "quorum": 2}, {"replicas": 5}]


async def submit_all(s: Scenario, count: int) -> list[str]:
    """Verified jobs of all plans, and others between them."""
    client = s.client("submitter")
    return [
        await client.submit(f"same {number}", verify=PLANS[number % 4])
        if number % 3
        else await client.submit(f"ok {number}")
        for number in range(count)
    ]


async def ends(s: Scenario, jobs: list[str]) -> list[dict[str, Any]]:
    client = s.client("reader")
    return list(await asyncio.gather(*(client.result(job, seconds=120) for job in jobs)))


def working(s: Scenario, count: int, **options: Any) -> list[SimNode]:
    nodes = [s.node(f"node-{number}", **options) for number in range(count)]
    for node in nodes:
        s.work(node)
    return nodes


@pytest.mark.parametrize("point", ["statement", "before_commit", "after_commit"])
async def test_every_result_counts_once_across_a_crash(scenario: Make, point: str) -> None:
    async with scenario(NODE_TIMEOUT="20") as s:
        working(s, 6, slots=2)
        submits = asyncio.create_task(submit_all(s, 90))
        await s.broker.arm(point, count=150)
        assert await s.broker.wait_ended(90) == -9
        await s.restart()
        results = await ends(s, await submits)
        assert {result["status"] for result in results} == {"completed"}
        rows = s.audit()
        assert all((row["quorum"] is None) == (row["results"] is None) for row in rows.jobs.values())


async def test_one_liar_among_many_is_outvoted(scenario: Make) -> None:
    """Every job that may have three results comes to the honest one, whoever is asked first, while nodes come back
    with new sessions and drop what they hold."""
    chance = random.Random(5)
    async with scenario(NODE_TIMEOUT="20", MAX_RETRIES="20") as s:
        nodes = working(s, 5, slots=2)
        nodes[0].lies = True
        client = s.client()
        jobs = [await client.submit(f"same {number}", verify={"replicas": 3}) for number in range(60)]
        for _ in range(8):
            await asyncio.sleep(chance.random() * 0.2)  # a random moment of their work
            node = chance.choice(nodes)
            await s.kill_node(node)
            s.work(node)
        for number, result in enumerate(await ends(s, jobs)):
            assert (result["status"], result["output"]) == ("completed", f"same {number}".removeprefix("same "))
            assert nodes[0].node_id not in result["verified"]["nodes"]
        seen = s.audit().attempts.values()
        assert any(attempt["node_id"] == nodes[0].node_id and attempt["result_digest"] for attempt in seen)


async def test_results_of_liars_that_do_not_know_each_other_are_never_equal(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        for node in working(s, 3):
            node.lies = True
        jobs = [await s.client().submit("same thing", verify={"replicas": 3}) for _ in range(10)]
        results = await ends(s, jobs)
        assert [(result["failure"], result["output"]) for result in results] == [("verification", "")] * 10


async def test_no_wake_up_is_lost_to_a_node_that_has_run_the_job(scenario: Make) -> None:
    """All nodes wait, at most one of them may have the job next, and it is woken each time."""
    async with scenario(NODE_TIMEOUT="60") as s:
        nodes = [await s.registered(f"node-{number}", slots=2) for number in range(4)]
        workers = [asyncio.create_task(node.run_all()) for node in nodes]
        client = s.client()
        for number in range(60):
            job = await client.submit(f"same {number}", verify={"replicas": 4, "quorum": 4})
            async with asyncio.timeout(SOON):
                result = await client.result(job)
            assert sorted(result["verified"]["nodes"]) == sorted(node.node_id for node in nodes)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def test_a_zombie_and_its_heir_give_one_result_each_round(scenario: Make) -> None:
    """A node whose session ended delivers at the same moment as the one that has the job now."""
    async with scenario(NODE_TIMEOUT="60") as s:
        client = s.client()
        first, zombie, heir = [await s.registered(name) for name in ("first", "zombie", "heir")]
        for number in range(40):
            job = await client.submit(f"same {number}", verify={"replicas": 2})
            (run,) = await first.claim(wait=20)
            await first.complete(run)
            (late,) = await zombie.claim(wait=20)
            before = zombie.identity()
            await zombie.register()
            (now,) = await heir.claim(wait=20)
            answers = await asyncio.gather(
                zombie.call("complete", "POST", "/complete", before | zombie.outcome(late)), heir.complete(now)
            )
            assert [answer.status for answer in answers] == [409, 200]
            assert (await client.result(job))["verified"]["nodes"] == [first.node_id, heir.node_id]
