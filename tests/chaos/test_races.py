"""A result races with everything that may take the job away (scenario 10): exactly one wins, a thousand times."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from chaos.node import Run, SimNode
from chaos.rig import Scenario
from support.history import Call

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
ROUNDS = 250


async def _beat_without(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    node.held.pop(run.ref, None)
    return await node.beat()


async def _register(s: Scenario, node: SimNode, run: Run) -> object:
    del s, run
    body = {
        "endpoint": "x",
        "capabilities": node.capabilities,
        "slots": node.slots,
        "node_id": node.node_id,
        "secret": node.secret,
    }
    return await node.call("register", "POST", "/register", body)


async def _release(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    refs = [{"job_id": run.job_id, "fence": run.fence}]
    return await node.call("release", "POST", "/release", node.identity() | {"jobs": refs})


async def _cancel(s: Scenario, node: SimNode, run: Run) -> object:
    del s
    return await node.call("cancel", "DELETE", f"/jobs/{run.job_id}")  # by whom does not matter


@pytest.mark.parametrize("rival", [_beat_without, _register, _release, _cancel])
async def test_a_result_and_a_taking_away_never_both_win(
    scenario: Make, rival: Callable[[Scenario, SimNode, Run], Awaitable[object]]
) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        node, heir = await s.registered("racer"), await s.registered("heir")
        client = s.client()
        seen: Counter[int | None] = Counter()
        for number in range(ROUNDS):
            job = await client.submit(f"ok {number}")
            (run,) = await node.claim(wait=20)
            barrier = asyncio.Barrier(2)
            complete, _ = await asyncio.gather(
                _after(
                    barrier, node.call("complete", "POST", "/complete", node.identity() | node.outcome(run)), number % 2
                ),
                _after(barrier, rival(s, node, run), 1 - number % 2),
            )
            assert isinstance(complete, Call)
            seen[complete.status] += 1
            row = await client.status(job)
            if complete.status == 200:
                assert row["status"] == "completed"
            else:
                assert complete.status == 409
                if row["status"] == "pending":
                    (moved,) = await heir.claim(wait=20)
                    assert moved.fence == run.fence + 1
                    await heir.complete(moved)
                else:
                    assert row["failure"] == "cancelled"
            if rival is _register:
                await node.register()
        assert set(seen) <= {200, 409}
        assert len(seen) == 2, f"both sides win at times, or nothing was raced: {seen}"


async def _after(barrier: asyncio.Barrier, action: Awaitable[object], turns: int) -> object:
    """Start together; `turns` of the event loop decide who is first on the wire."""
    await barrier.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    return await action


async def test_a_claim_of_a_session_that_just_ended_leaves_no_orphan(scenario: Make) -> None:
    """The old process's claim and the new process's register cross: no attempt may stick to a session that does not
    know of it."""
    async with scenario(NODE_TIMEOUT="60") as s:
        client, heir = s.client(), await s.registered("heir")
        node = await s.registered("restarting", slots=4)
        body = {
            "endpoint": "x",
            "capabilities": node.capabilities,
            "slots": 4,
            "node_id": node.node_id,
            "secret": node.secret,
        }
        for number in range(ROUNDS):
            old = node.identity()
            job = await client.submit(f"ok {number}")
            barrier = asyncio.Barrier(2)
            claim = node.call("claim", "POST", "/claim", old | {"claim_number": 40, "max_jobs": 1})
            register = node.call("register", "POST", "/register", body)
            _, registered = await asyncio.gather(
                _after(barrier, claim, number % 3), _after(barrier, register, (number + 1) % 3)
            )
            assert isinstance(registered, Call)
            node.session = registered.body["session"]
            beat = await node.call("heartbeat", "POST", "/heartbeat", node.identity() | {"held": [], "claims_done": 0})
            assert beat.ok
            runs = await heir.claim(wait=20)
            assert [run.job_id for run in runs] == [job], (
                f"round {number}: the job hangs on a session that does not know of it"
            )
            await heir.complete(runs[0])
