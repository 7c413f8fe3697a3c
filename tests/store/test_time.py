"""What time does: leases, deadlines, expiry; and what a new session or a new start does."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker.domain.words import AttemptOutcome, JobStatus
from broker.store.base import Store
from broker.store.records.node import NodeLease
from support.jobs import POLICY, PYTHON, RUBY, TTL, claim, complete, new_job, register, submit
from support.stores import Heard, opened

pytestmark = pytest.mark.anyio
NONE: frozenset[str] = frozenset()


async def test_a_lost_node_costs_an_attempt_and_the_first_time_no_delay(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("a"))
    await claim(store)
    heard.forget()
    assert await store.rescue(["node-1"], 5.0, TTL) == [("a", 1)]
    assert heard.ready == {PYTHON: 1}
    job = await store.job("a")
    assert job is not None
    assert (job.status, job.attempt, job.losses, job.node_id, job.run_at) == (JobStatus.PENDING, 1, 1, None, None)
    (attempt,) = await store.attempts("a")
    assert (attempt.outcome, attempt.ended_at) == (AttemptOutcome.NODE_LOST, 5.0)


async def test_a_poison_job_ends(store: Store) -> None:
    await register(store)
    await submit(store, new_job("poison", max_retries=2), new_job("good"))
    now = 0.0
    for _ in range(3):
        claimed = await claim(store, now=now, max_jobs=2)
        assert "poison" in [job.id for job in claimed]
        await store.rescue(["node-1"], now, TTL)
        now += 100.0
    job = await store.job("poison")
    assert job is not None
    assert (job.status.value, job.failure and job.failure.value, job.losses) == ("failed", "node_lost", 3)
    good = await store.job("good")
    assert good is not None
    assert good.status is JobStatus.PENDING


async def test_a_new_session_ends_the_old_one_and_rescues_its_jobs(store: Store) -> None:
    assert await register(store) == 1
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    assert await register(store, now=1.0) == 2
    assert (await complete(store, claimed)).word == "stale_lease"
    (again,) = await claim(store, now=1.0)
    assert again.fence == 2
    assert [attempt.session_number for attempt in await store.attempts("a")] == [1, 2]


async def test_draining_and_counters_outlive_a_session(store: Store) -> None:
    await register(store)
    await submit(store, new_job())
    (claimed,) = await claim(store)
    await complete(store, claimed)
    await store.set_draining("node-1", True, 0.0)
    await register(store)
    (node,) = await store.nodes()
    assert (node.draining, node.jobs_completed) == (True, 1)


async def test_a_job_over_its_time_is_taken_back(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a", max_retries=1, timeout=60.0))
    await claim(store, deadline_slack=15.0)
    assert (await store.sweep(74.9, POLICY, NONE)).overdue == ()
    assert (await store.sweep(75.0, POLICY, NONE)).overdue == (("node-1", ("a", 1)),)
    (again,) = await claim(store, now=100.0, deadline_slack=1000.0)
    await store.start("node-1", [("a", again.fence)], 110.0, 15.0)
    assert (await store.sweep(184.9, POLICY, NONE)).overdue == (), "the limit counts from the start"
    await store.sweep(185.0, POLICY, NONE)
    job = await store.job("a")
    assert job is not None
    assert (job.status.value, job.failure and job.failure.value) == ("failed", "timeout")


async def test_a_deadline_ends_a_pending_job_only(store: Store) -> None:
    await register(store)
    await submit(
        store,
        new_job("waits", give_up_at=10.0, rank=2.0),
        new_job("runs", give_up_at=10.0, rank=1.0),
        new_job("hopeless", give_up_at=10.0, class_key=RUBY),
    )
    await claim(store)
    await store.sweep(10.0, POLICY, frozenset({RUBY}))
    failures = [(job := await store.job(name)) and job.failure for name in ("waits", "runs", "hopeless")]
    assert failures == ["expired", None, "rejected"]


async def test_a_cancel_that_nobody_answers_ends_the_job(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    await claim(store)
    await store.cancel("a", 10.0, TTL, node_answers=True)
    await store.sweep(11.9, POLICY, NONE)
    assert len(await store.held_by("node-1")) == 1
    await store.sweep(12.0, POLICY, NONE)
    job = await store.job("a")
    assert job is not None
    assert job.failure == "cancelled"


async def test_results_are_deleted_after_their_time_and_remembered_for_a_while(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"), key=("k", "b"))
    (claimed,) = await claim(store)
    await complete(store, claimed, now=10.0)
    assert (await store.sweep(109.9, POLICY, NONE)).deleted == 0
    assert (await store.sweep(110.0, POLICY, NONE)).deleted == 1
    assert await store.job("a") is None
    assert await store.attempts("a") == []
    assert await store.was_deleted("a")
    assert (await complete(store, claimed, now=111.0)).word == "unknown_job", "no resurrection"
    assert sum(store.totals().values()) == 0
    replay = await submit(store, new_job("b"), key=("k", "b"), now=111.0)
    assert [job.id for job in replay.jobs] == ["a"]
    await store.sweep(700.0, POLICY, NONE)
    assert not await store.was_deleted("a")
    assert not (await submit(store, new_job("c"), key=("k", "b"), now=701.0)).replayed


async def test_a_sweep_is_bounded_and_says_that_there_is_more(store: Store) -> None:
    await submit(store, *(new_job(f"a{n}") for n in range(12)))
    for number in range(12):
        await store.cancel(f"a{number}", 0.0, TTL, node_answers=False)
    small = replace(POLICY, limit=5)
    sweeps = [await store.sweep(TTL, small, NONE) for _ in range(3)]
    assert [(swept.deleted, swept.more) for swept in sweeps] == [(5, True), (5, True), (2, False)]


async def test_due_jobs_are_promoted_and_the_next_moment_is_known(store: Store, heard: Heard) -> None:
    await submit(store, new_job("a", run_at=10.0), new_job("b", run_at=20.0))
    swept = await store.sweep(10.0, POLICY, NONE)
    assert (swept.promoted, swept.next_due) == (1, 20.0)
    assert heard.ready == {PYTHON: 1}


async def test_silent_nodes_without_jobs_are_forgotten(store: Store) -> None:
    await register(store, "idle")
    await register(store, "holder")
    await submit(store, new_job(timeout=1e6))
    await claim(store, "holder")
    swept = await store.sweep(2000.0, POLICY, NONE)
    assert swept.forgotten_nodes == ("idle",)
    assert [node.id for node in await store.nodes()] == ["holder"]


async def test_impossible_jobs_are_rejected_by_class_and_age(store: Store) -> None:
    await submit(
        store,
        new_job("old", class_key=RUBY, created_at=1.0),
        new_job("young", class_key=RUBY, created_at=9.0),
        new_job("other", created_at=1.0),
    )
    assert await store.reject_class(RUBY, 5.0, 10.0, POLICY) == 1
    failures = [(job := await store.job(name)) and job.failure for name in ("old", "young", "other")]
    assert failures == ["rejected", None, None]


async def test_a_hopeless_class_without_jobs_is_reported_as_drained(store: Store, heard: Heard) -> None:
    await submit(store, new_job("a", class_key=RUBY))
    await store.sweep(0.0, POLICY, frozenset({RUBY}))
    assert heard.changes[-1].drained == set()
    await store.cancel("a", 0.0, TTL, node_answers=False)
    await store.sweep(0.0, POLICY, frozenset({RUBY}))
    assert heard.changes[-1].drained == {RUBY}


async def test_a_start_grants_leases_and_time_to_those_who_were_alive(store_name: str, tmp_path: Path) -> None:
    async with opened(store_name, tmp_path) as store:
        await register(store, "alive", lease_until=130.0)
        await register(store, "dead", lease_until=90.0)
        await submit(store, new_job("a"), new_job("b", run_at=1e6), new_job("c", class_key=RUBY, submitter="ann"))
        await claim(store, "alive", now=80.0)
        await store.save_leases([NodeLease("alive", 140.0, 80.0)], 100.0)
    async with opened(store_name, tmp_path) as store:
        assert await store.last_clock() == 100.0
        backlog = await store.resume(5000.0, 100.0, 60.0)
        leases = {node.id: node.lease_until for node in await store.nodes()}
        assert leases == {"alive": 5060.0, "dead": 90.0}
        assert (await store.sweep(5059.0, POLICY, NONE)).overdue == ()
        assert backlog.class_keys == {RUBY}
        assert backlog.totals == {JobStatus.PENDING: 2, JobStatus.ASSIGNED: 1}
        assert {(flow.submitter, flow.priority) for flow in backlog.flows} == {(None, 5), ("ann", 5)}


async def test_totals_count_every_job_once(store: Store) -> None:
    await register(store)
    await submit(store, *(new_job(f"t{n}") for n in range(4)))
    claimed = await claim(store, max_jobs=3)
    await store.start("node-1", [(claimed[0].id, 1), (claimed[1].id, 1)], 0.0, 15.0)
    await complete(store, claimed[0])
    await complete(store, claimed[1], outcome=AttemptOutcome.FAILED)
    await store.cancel("t3", 0.0, TTL, node_answers=False)
    assert store.totals() == {"pending": 0, "assigned": 1, "running": 0, "completed": 1, "failed": 2}
