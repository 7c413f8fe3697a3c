"""Jobs that fail again and again (scenarios 19 and 21): infrastructure is retried, results are not, poison ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chaos.node import SimNode
from chaos.rig import Scenario

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_a_job_that_kills_every_node_ends_and_others_flow(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60", MAX_RETRIES="2") as s:
        client = s.client()
        poison = await client.submit("poison")
        victims = [s.node(f"victim-{n}") for n in range(3)]
        for victim in victims:
            await victim.register()
        dying = [asyncio.create_task(_die_of(victim, poison)) for victim in victims]
        healthy = await client.submit_many([f"ok {n}" for n in range(60)])
        for job in healthy:
            assert (await client.result(job))["status"] == "completed"
        result = await client.result(poison, seconds=90)
        assert (result["status"], result["failure"]) == ("failed", "node_lost")
        for task in dying:
            task.cancel()
        await asyncio.gather(*dying, return_exceptions=True)
        row = s.audit().jobs[poison]
        assert (row["losses"], row["fence"]) == (3, 3), "MAX_RETRIES further attempts after the first"


async def _die_of(node: SimNode, poison: str) -> None:
    """Run everything, but be killed by `poison` and come back as a new session."""
    while True:
        for run in await node.claim(wait=20):
            if run.job_id == poison:
                await node.register()
            else:
                await node.complete(run)


async def test_an_executor_that_always_fails_uses_up_the_retries(scenario: Make) -> None:
    async with scenario(MAX_RETRIES="2") as s:
        client = s.client()
        job = await client.submit("platform")
        s.work(s.node())
        result = await client.result(job, seconds=90)
        assert (result["status"], result["failure"]) == ("failed", "platform")
        row = s.audit().jobs[job]
        assert (row["attempt"], row["losses"]) == (3, 3)


async def test_an_exit_code_is_a_result_and_no_reason_to_run_again(scenario: Make) -> None:
    async with scenario() as s:
        client = s.client()
        job = await client.submit("exit 1")
        s.work(s.node())
        result = await client.result(job)
        assert (result["status"], result["failure"], result["exit_code"]) == ("failed", "exit", 1)
        assert s.audit().jobs[job]["fence"] == 1


async def test_an_exit_code_is_retried_when_the_job_asks(scenario: Make) -> None:
    async with scenario(MAX_RETRIES="1") as s:
        client = s.client()
        job = await client.submit("exit 4", retry_on=["exit"])
        s.work(s.node())
        result = await client.result(job, seconds=90)
        assert (result["failure"], result["exit_code"]) == ("exit", 4)
        row = s.audit().jobs[job]
        assert (row["fence"], row["reruns"], row["losses"]) == (2, 1, 0)


async def test_attempts_handed_back_are_free(scenario: Make) -> None:
    async with scenario(MAX_RETRIES="0") as s:
        job = await s.client().submit("ok")
        node = await s.registered()
        for _ in range(20):
            (run,) = await node.claim(wait=20)
            assert (await node.release([run], "sandrun is full")).status == 200
        (run,) = await node.claim(wait=20)
        assert run.fence == 21
        await node.complete(run)
        row = s.audit().jobs[job]
        assert (row["attempt"], row["losses"], row["status"]) == (1, 0, "completed")


async def test_a_cancelled_run_ends_once_whatever_the_node_repeats(scenario: Make) -> None:
    async with scenario(BROKER_CANCEL_GRACE="60") as s:
        client, node = s.client(), await s.registered()
        job = await client.submit("hang")
        await node.open_link()
        (run,) = await node.claim()
        await node.start(run)
        assert (await client.cancel(job)).ok
        await asyncio.wait_for(run.stopped.wait(), 60)
        assert (await client.cancel(job)).ok, "repeating it is harmless"
        first = await node.complete(run, failure="cancelled", exit_code=None, output="half")
        again = await node.complete(run, failure="cancelled", exit_code=None, output="half")
        assert (first.status, again.status) == (200, 200)
        assert again.body["duplicate"] is True
        result = await client.result(job)
        assert (result["status"], result["failure"], result["output"]) == ("failed", "cancelled", "half")
        assert (await client.cancel(job)).ok
