"""The broker is killed at every commit boundary (scenarios 6 to 8): answers survive, all else can be repeated."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from chaos.load import Load
from chaos.rig import Scenario

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]

IN_FLIGHT = 200
POINTS = ["begin", "statement", "before_commit", "after_commit"]


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("point", POINTS)
async def test_no_acknowledged_operation_is_lost(scenario: Make, point: str, count: int) -> None:
    async with scenario() as s, Load(s, clients=IN_FLIGHT) as load:
        await load.reach(300)
        await s.broker.arm(point, count=count)
        assert await s.broker.wait_ended(90) == -9
        at_crash = len(load.jobs)
        await s.restart()
        await load.reach(at_crash + 300)
        await load.finish()
        assert len(s.audit().jobs) >= len(load.jobs)


async def test_a_group_is_kept_whole_or_not_at_all(scenario: Make) -> None:
    """200 submissions pile up behind a held writer as one group, which dies before its commit, then after it."""
    async with scenario() as s:
        for point, survivors in (("before_commit", 0), ("after_commit", IN_FLIGHT)):
            before = _count_jobs(s)
            clients = [s.client(f"{point}-{n}") for n in range(IN_FLIGHT + 1)]
            await asyncio.gather(*(client.call("health", "GET", "/health") for client in clients))  # all connected
            await s.broker.arm("begin", "hold")
            tasks = [asyncio.create_task(clients[0].submit("ok", key=f"{point}-first"))]
            await s.broker.wait_held()
            tasks += [
                asyncio.create_task(client.submit("ok", key=f"{point}-{n}")) for n, client in enumerate(clients[1:])
            ]
            await _all_received(s)
            await s.broker.arm(point, count=2)  # the held group of one commits, the one after it is killed
            await s.broker.release()
            await s.broker.wait_ended(60)
            assert _count_jobs(s) - before == 1 + survivors
            await s.restart()
            assert len(set(await asyncio.gather(*tasks))) == IN_FLIGHT + 1, "every key made one job"
            assert _count_jobs(s) - before == IN_FLIGHT + 1


async def _all_received(s: Scenario) -> None:
    """The broker reads its sockets in turn: once it has answered a later call, it has read the earlier ones."""
    last = s.client("last")
    for _ in range(5):
        assert (await last.call("health", "GET", "/health")).status == 200


def _count_jobs(s: Scenario) -> int:
    with closing(sqlite3.connect(s.broker.database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM job_states").fetchone()[0]
        return count


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_a_submit_repeated_after_the_crash_makes_one_job(scenario: Make, point: str) -> None:
    async with scenario() as s:
        await s.broker.arm(point)
        submit = asyncio.create_task(s.client().submit("ok", key="only"))
        await s.broker.wait_ended(60)
        await s.restart()
        job = await submit
        assert set(s.audit().jobs) == {job}


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_a_claim_repeated_after_the_crash_leaves_no_orphan(scenario: Make, point: str) -> None:
    async with scenario() as s:
        job = await s.client().submit("ok")
        node = await s.registered()
        await s.broker.arm(point)
        lost = await node.claim_call()
        assert lost.status is None
        await s.broker.wait_ended(60)
        await s.restart()
        (run,) = node.take(await node.claim_call(number=lost.request["claim_number"]))
        assert run.job_id == job  # the same attempt, or the first one: the fence is 1, or from the clock (adr/0018)
        assert (await node.complete(run)).status == 200
        assert s.audit().jobs[job]["attempt"] == 1


async def test_a_claim_given_up_after_the_crash_is_free_after_one_beat(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        job = await s.client().submit("ok")
        node, other = await s.registered("crashed-upon"), await s.registered("other")
        await s.broker.arm("after_commit")
        await node.claim_call()
        await s.broker.wait_ended(60)
        await s.restart()
        node.claims_done = node.claim_number
        assert (await node.beat()).ok
        (run,) = await other.claim(wait=20)
        assert run.job_id == job
        assert run.fence > 1, "a later fence than the one that nobody has (adr/0018)"
        await other.complete(run)
        assert s.audit().jobs[job]["attempt"] == 1


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_a_result_repeated_after_the_crash_counts_once(scenario: Make, point: str) -> None:
    async with scenario() as s:
        job = await s.client().submit("ok")
        node = await s.registered()
        (run,) = await node.claim()
        await s.broker.arm(point)
        complete = asyncio.create_task(node.complete(run))
        await s.broker.wait_ended(60)
        await s.restart()
        answer = await complete
        assert answer.status == 200
        assert bool(answer.body.get("duplicate")) == (point == "after_commit")
        rows = s.audit()
        assert rows.nodes[node.node_id]["jobs_completed"] == 1
        assert rows.jobs[job]["status"] == "completed"


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_register_cancel_and_release_can_be_repeated_after_a_crash(scenario: Make, point: str) -> None:
    async with scenario() as s:
        client, node = s.client(), await s.registered(slots=2)
        await client.submit_many(["ok a", "ok b"])
        runs = await node.claim(max_jobs=2)
        for action in (lambda: client.cancel(runs[0].job_id), lambda: node.release([runs[1]]), node.register):
            await s.broker.arm(point)
            task = asyncio.create_task(action())
            await s.broker.wait_ended(60)
            await s.restart()
            await task
        rows = s.audit()
        assert rows.jobs[runs[1].job_id]["status"] == "pending"
        assert rows.nodes[node.node_id]["id"] == node.node_id


@pytest.mark.parametrize("count", [1, 5, 12])
async def test_a_crash_during_the_first_start_does_not_spoil_the_database(scenario: Make, count: int) -> None:
    s = scenario()
    s.broker.spawn(CHAOS_ARMED=f"schema:{count}")
    assert await s.broker.wait_ended(90) == -9, "killed in the middle of making the tables"
    async with s:
        await s.client().submit("ok")
