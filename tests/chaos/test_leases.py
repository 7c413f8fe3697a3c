"""Silent nodes, zombies, partitions and replaced sessions (scenarios 2 to 4, 11, 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chaos.actors import Client
from chaos.node import Run, SimNode
from chaos.proxy import LossyProxy
from chaos.rig import Scenario
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_a_zombie_cannot_harm_the_new_holder(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="3") as s:
        job = await s.client().submit("ok")
        zombie, heir = await s.registered("zombie"), await s.registered("heir")
        (old,) = await zombie.claim()
        keep_alive = asyncio.create_task(_keep_beating(heir))
        (new,) = await heir.claim(wait=20)  # the zombie sleeps; its lease ends
        assert (new.job_id, new.fence) == (job, 2)
        late = await zombie.complete(old, once=True)
        assert (late.status, late.body["reason"]) == (409, "stale_lease")
        zombie.held[old.ref] = old
        beat = await zombie.beat()
        assert [(lost["job_id"], lost["fence"]) for lost in beat.body["lost"]] == [(job, 1)]
        assert old.stopped.is_set(), "the zombie is told to kill its run"
        assert (await heir.complete(new)).status == 200
        keep_alive.cancel()
        assert (await s.client().result(job))["output"].endswith("|heir")
        assert s.audit().jobs[job]["losses"] == 1


async def _keep_beating(node: SimNode) -> None:
    while True:
        await node.beat()
        await asyncio.sleep(0.2)  # the beat's interval


async def test_a_silent_nodes_waiting_claim_gets_nothing(scenario: Make) -> None:
    """A frozen or unplugged node hangs up on nobody: its claim goes on waiting when its lease is over."""
    async with scenario(NODE_TIMEOUT="3") as s:
        job = await s.client().submit("ok")
        silent, heir = await s.registered("silent", slots=4), await s.registered("heir", slots=4)
        await silent.claim()
        keep_alive = asyncio.create_task(_keep_beating(heir))
        waiting = asyncio.create_task(silent.claim_call(wait=20))
        await eventually(lambda: _has_lapsed(s.client(), "silent"), seconds=60, what="the lease ends")
        (moved,) = await heir.claim(wait=20)
        assert (moved.job_id, moved.fence) == (job, 2)
        assert (await waiting).body["jobs"] == [], "it returns, should there still be somebody to hear it"
        await heir.complete(moved)
        keep_alive.cancel()


async def _has_lapsed(client: Client, name: str) -> bool:
    nodes = (await client.insist("nodes", "GET", "/nodes")).body["nodes"]
    return not any(node["name"] == name and node["active"] for node in nodes)


async def test_a_late_result_is_accepted_once_or_refused_never_both(scenario: Make) -> None:
    """Around the moment of the rescue: whoever comes first wins, and the other is told so."""
    accepted = 0
    async with scenario(NODE_TIMEOUT="3", BROKER_LINK_GRACE="0.1") as s:
        jobs = await s.client().submit_many([f"ok {n}" for n in range(24)])
        nodes = await asyncio.gather(*(s.registered(f"node-{n}") for n in range(24)))
        claims = await asyncio.gather(*(node.claim() for node in nodes))
        runs = [(node, run) for node, (run,) in zip(nodes, claims, strict=True)]
        # Results arrive one by one from well before to well after the leases' end.
        outcomes = await asyncio.gather(*(_complete_after(0.15 * n, node, run) for n, (node, run) in enumerate(runs)))
        accepted = outcomes.count(200)
        assert set(outcomes) <= {200, 409}
        rows = s.audit()
        assert sum(rows.jobs[job]["status"] == "completed" for job in jobs) == accepted
    assert accepted > 0


async def _complete_after(seconds: float, node: SimNode, run: Run) -> int | None:
    await asyncio.sleep(seconds)  # spreads the results over the lease's end
    call = await node.complete(run, once=True)
    return call.status


async def test_a_partition_shorter_than_the_lease_changes_nothing(scenario: Make) -> None:
    async with scenario() as s, LossyProxy(s.broker.port) as network:
        job = await s.client().submit("ok")
        node, other = s.node("cut-off", port=network.port), await s.registered("other")
        await node.register()
        (run,) = await node.claim()
        network.mode = "blackhole"
        assert await other.claim(wait=1) == [], "still leased while the partition is short"
        network.mode = "pass"
        assert (await node.beat()).body["renewed"] == [{"job_id": job, "fence": 1}]
        assert (await node.complete(run)).status == 200
        row = s.audit().jobs[job]
        assert (row["fence"], row["losses"]) == (1, 0)


async def test_a_partition_longer_than_the_lease_moves_the_job_once(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="3") as s, LossyProxy(s.broker.port) as network:
        job = await s.client().submit("hang")
        node, other = s.node("cut-off", port=network.port), s.node("other")
        s.work(node, link=True)
        client = s.client()
        await eventually(lambda: _is(client, job, "assigned", "running"), seconds=60, what="the job is handed out")
        (run,) = node.held.values()
        network.mode = "blackhole"
        await asyncio.wait_for(run.stopped.wait(), 60)  # the node fences itself
        await other.register()
        keep_alive = asyncio.create_task(_keep_beating(other))
        (moved,) = await other.claim(wait=20)
        assert (moved.job_id, moved.fence) == (job, 2)
        keep_alive.cancel()
        network.mode = "pass"
        assert (await other.complete(moved)).status == 200
        row = s.audit().jobs[job]
        assert (row["fence"], row["losses"], row["status"]) == (2, 1, "completed")


async def _is(client: Client, job: str, *words: str) -> bool:
    status = await client.status(job)
    return status["status"] in words


async def test_a_broken_link_is_a_lost_node_long_before_the_lease_ends(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60", BROKER_LINK_GRACE="0.3") as s:
        job = await s.client().submit("ok")
        node, other = await s.registered("killed"), await s.registered("other")
        link = await node.open_link()
        (run,) = await node.claim()
        link.transport.abort()  # what the kernel does to a killed container's sockets
        (moved,) = await other.claim(wait=20)
        assert (moved.job_id, moved.fence) == (job, 2)
        stale = await node.complete(run, once=True)
        assert (stale.status, stale.body["reason"]) == (409, "stale_lease")
        await other.complete(moved)


async def test_a_link_that_comes_back_in_time_costs_nothing(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60", BROKER_LINK_GRACE="3") as s:
        job = await s.client().submit("ok")
        node, other = await s.registered("flapping"), await s.registered("other")
        link = await node.open_link()
        (run,) = await node.claim()
        for _ in range(5):
            link.transport.abort()
            link = await node.open_link()
        assert await other.claim(wait=4) == [], "longer than the grace after the last return"
        assert (await node.complete(run)).status == 200
        assert s.audit().jobs[job]["fence"] == 1


async def test_a_new_session_ends_the_old_one_at_once(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60") as s:
        job = await s.client().submit("ok")
        node, other = await s.registered("twice"), await s.registered("other")
        (run,) = await node.claim()
        old = node.identity()
        await node.register()
        (moved,) = await other.claim(wait=20)
        assert (moved.job_id, moved.fence) == (job, 2), "rescued without waiting for the lease"
        bodies: dict[str, dict[str, object]] = {
            "/heartbeat": {"held": [{"job_id": job, "fence": 1}]},
            "/claim": {"claim_number": 2},
            "/complete": node.outcome(run),
            "/start": {"jobs": [{"job_id": job, "fence": 1}]},
            "/release": {"jobs": [{"job_id": job, "fence": 1}]},
        }
        for path, body in bodies.items():
            answer = await node.call("old_session", "POST", path, old | body)
            assert (answer.status, answer.body["reason"]) == (409, "session_ended"), path
        assert (await other.complete(moved)).status == 200
        rows = s.audit()
        assert (rows.nodes[node.node_id]["jobs_completed"], rows.nodes[other.node_id]["jobs_completed"]) == (0, 1)
        assert rows.jobs[job]["losses"] == 1


async def test_the_same_endpoint_twice_is_two_nodes(scenario: Make) -> None:
    async with scenario() as s:
        jobs = set(await s.client().submit_many(["ok a", "ok b"]))
        one, two = await s.registered("one"), await s.registered("two")
        assert one.node_id != two.node_id
        runs = [(node, run) for node in (one, two) for run in await node.claim()]
        assert {run.job_id for _, run in runs} == jobs
        for node, run in runs:
            assert (await node.complete(run)).status == 200


async def test_a_job_beyond_its_timeout_is_taken_from_a_node_that_lives(scenario: Make) -> None:
    async with scenario(MAX_RETRIES="0", BROKER_TIMEOUT_GRACE="0.5") as s:
        client = s.client()
        job = await client.submit("hang", timeout=1)
        node = s.node("stubborn")
        s.work(node, link=True)
        result = await client.result(job, seconds=60)
        assert (result["status"], result["failure"]) == ("failed", "timeout")
        await eventually(lambda: _nothing_held(node), seconds=60, what="the node is told to kill the run")
        assert (await client.result(await client.submit("ok after")))["status"] == "completed", "the node stays live"


async def _nothing_held(node: SimNode) -> bool:
    return not node.held
