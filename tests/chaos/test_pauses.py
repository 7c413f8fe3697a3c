"""The broker itself stands still: a suspended machine, a stalled disk. Its absence is not held against the nodes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from chaos.node import SimNode
from chaos.rig import Scenario
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_a_paused_broker_evicts_nobody_when_it_goes_on(scenario: Make) -> None:
    """SIGSTOP for longer than the lease, as a suspended or overloaded machine does; the nodes never stopped beating."""
    async with scenario(NODE_TIMEOUT="4") as s:
        client = s.client()
        jobs = await client.submit_many(["hang"] * 20)
        nodes = [s.node(f"node-{n}", slots=2) for n in range(10)]
        for number, node in enumerate(nodes):
            s.work(node, link=number % 2 == 0)
        await eventually(lambda: _held(nodes, 20), seconds=60, what="all jobs are handed out")
        s.broker.signal(signal.SIGSTOP)
        await asyncio.sleep(5)  # the pause: longer than the lease
        s.broker.signal(signal.SIGCONT)
        await _all_heard(nodes)
        rows = s.audit()
        assert sum(rows.jobs[job]["losses"] for job in jobs) == 0, "rescued although its node was alive all the time"


async def _held(nodes: list[SimNode], count: int) -> bool:
    return sum(len(node.held) for node in nodes) == count


async def _all_heard(nodes: list[SimNode]) -> None:
    """Each node's beat was answered twice from now on, with time between for whoever would have called it lost."""
    before = [node.beats_answered for node in nodes]

    async def heard() -> bool:
        return all(node.beats_answered >= count + 2 for node, count in zip(nodes, before, strict=True))

    await eventually(heard, seconds=60, what="every node is heard again")


async def test_a_stalled_disk_costs_no_node_its_jobs(scenario: Make) -> None:
    """A commit that takes longer than the lease: beats go on, submissions wait, nothing is rescued."""
    async with scenario(NODE_TIMEOUT="4") as s:
        client = s.client()
        jobs = await client.submit_many(["hang"] * 4)
        nodes = [s.node(f"node-{n}", slots=2) for n in range(2)]
        for node in nodes:
            s.work(node)
        await eventually(lambda: _held(nodes, 4), seconds=60, what="all jobs are handed out")
        await s.broker.arm("before_commit", "hold")
        slow = asyncio.create_task(client.call("submit", "POST", "/submit", {"code": "ok"}, seconds=60))
        await s.broker.wait_held()
        until = asyncio.get_running_loop().time() + 6  # longer than the lease
        while asyncio.get_running_loop().time() < until:
            assert (await client.call("status", "GET", f"/status/{jobs[0]}", seconds=20)).status == 200
            await asyncio.sleep(0.2)  # the reader's interval
        await s.broker.release()
        assert (await slow).status == 200
        await _all_heard(nodes)
        rows = s.audit()
        assert sum(rows.jobs[job]["losses"] for job in jobs) == 0
