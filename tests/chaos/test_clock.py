"""The machine's clock jumps (scenario 12): no lease and no result lives shorter or longer by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chaos.actors import Client
from chaos.node import SimNode
from chaos.rig import Scenario
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
HOUR = 3600.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_while_running_moves_no_lease(scenario: Make, jump: float) -> None:
    async with scenario(NODE_TIMEOUT="3", RESULT_TTL="600") as s:
        client = s.client()
        ended = await client.submit("ok ended")
        silent, beating, heir = await s.registered("silent"), await s.registered("beating"), await s.registered("heir")
        await silent.complete((await silent.claim())[0])
        jobs = await client.submit_many(["ok a", "ok b"])
        (lost,) = await silent.claim()
        (kept,) = await beating.claim()
        await s.broker.shift_clock(jump)
        beats = asyncio.create_task(_beat(beating, heir))
        (moved,) = await heir.claim(wait=20)
        assert moved.job_id == lost.job_id, "a silent node's lease ends although the clock went back"
        beats.cancel()
        assert (await beating.complete(kept)).status == 200
        assert (await heir.complete(moved)).status == 200
        assert (await client.result(ended))["status"] == "completed", "no result is deleted early"
        rows = s.audit()
        assert [rows.jobs[job]["losses"] for job in jobs] == [int(job == lost.job_id) for job in jobs]


async def _beat(*nodes: SimNode) -> None:
    while True:
        for node in nodes:
            await node.beat()
        await asyncio.sleep(0.2)  # the beat's interval


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_restart_with_another_clock_evicts_nobody_and_lets_nobody_live_for_ever(
    scenario: Make, jump: float
) -> None:
    async with scenario(NODE_TIMEOUT="3", RESULT_TTL="600") as s:
        client = s.client()
        silent, alive, heir = await s.registered("silent"), await s.registered("alive"), await s.registered("heir")
        jobs = await client.submit_many(["ok a", "ok b"])
        (lost,) = await silent.claim()
        (kept,) = await alive.claim()
        await s.restart(CHAOS_CLOCK_SHIFT=str(jump))
        assert [ref["job_id"] for ref in (await alive.beat()).body["renewed"]] == [kept.job_id], (
            "the outage evicts nobody"
        )
        assert (await alive.complete(kept)).status == 200
        beats = asyncio.create_task(_beat(alive, heir))
        (moved,) = await heir.claim(wait=20)
        assert moved.job_id == lost.job_id
        beats.cancel()
        assert (await heir.complete(moved)).status == 200
        for job in jobs:
            assert (await client.result(job))["status"] == "completed"


async def test_results_expire_on_time_after_a_restart_with_the_clock_behind(scenario: Make) -> None:
    async with scenario(RESULT_TTL="2", deletes=True) as s:
        client, node = s.client(), await s.registered()
        job = await client.submit("ok")
        await node.complete((await node.claim())[0])
        await s.restart(CHAOS_CLOCK_SHIFT=str(-HOUR))
        assert "is ahead of this machine's clock" in s.broker.log_text()
        await eventually(lambda: _is_gone(client, job), seconds=60, what="the result is deleted")


async def _is_gone(client: Client, job: str) -> bool:
    return (await client.call("results", "GET", f"/results/{job}")).status == 410
