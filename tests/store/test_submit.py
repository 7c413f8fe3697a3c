"""Storing jobs: all or none, once per idempotency key, once per identical job."""

import asyncio

import pytest

from broker.domain.words import AttemptOutcome, JobStatus
from broker.store.base import Store
from support.jobs import PYTHON, TTL, claim, complete, new_job, register, submit
from support.stores import Heard

pytestmark = pytest.mark.anyio


async def test_a_job_is_there_with_all_that_was_said(store: Store) -> None:
    await submit(store, new_job("a", code="x\ny", spec='{"args":["1"]}', labels='{"team":"red"}', submitter="ann"))
    job = await store.job("a")
    assert job is not None
    assert (job.status, job.labels, job.submitter, job.attempt) == (JobStatus.PENDING, {"team": "red"}, "ann", 0)
    await register(store)
    (claimed,) = await claim(store)
    assert (claimed.code, claimed.spec) == ("x\ny", '{"args":["1"]}')


async def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    await submit(store, new_job("taken"))
    with pytest.raises(Exception, match="UNIQUE"):
        await submit(store, new_job("new"), new_job("taken"))
    assert await store.job("new") is None
    assert store.totals()["pending"] == 1


async def test_a_failing_operation_harms_no_neighbour(store: Store) -> None:
    await submit(store, new_job("taken"))
    results = await asyncio.gather(
        submit(store, new_job("one")),
        submit(store, new_job("taken")),
        submit(store, new_job("two")),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert await store.job("one") is not None
    assert await store.job("two") is not None


async def test_the_same_key_gives_the_same_jobs(store: Store) -> None:
    first = await submit(store, new_job("a"), new_job("b"), key=("k", "body"))
    again = await submit(store, new_job("c"), new_job("d"), key=("k", "body"))
    assert not first.replayed
    assert again.replayed
    assert [job.id for job in again.jobs] == ["a", "b"]
    assert await store.job("c") is None


async def test_the_same_key_with_another_body_is_a_conflict(store: Store) -> None:
    await submit(store, new_job("a"), key=("k", "body"))
    other = await submit(store, new_job("b"), key=("k", "other"))
    assert other.conflict
    assert await store.job("b") is None


async def test_an_identical_success_is_the_answer(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("first", dedupe_key="d"))
    (claimed,) = await claim(store)
    await complete(store, claimed, output="42")
    outcome = await submit(store, new_job("second", dedupe_key="d"), now=10)
    assert outcome.jobs[0].cached
    assert outcome.jobs[0].status is JobStatus.COMPLETED
    result = await store.result("second")
    assert result is not None
    assert (result.output, result.job.cached, result.job.expires_at) == ("42", True, TTL)


async def test_a_failure_is_no_cached_answer(store: Store) -> None:
    await register(store)
    await submit(store, new_job("first", dedupe_key="d"))
    (claimed,) = await claim(store)
    await complete(store, claimed, outcome=AttemptOutcome.FAILED)
    outcome = await submit(store, new_job("second", dedupe_key="d"))
    assert outcome.jobs[0].status is JobStatus.PENDING


async def test_identical_jobs_at_the_same_time_run_once(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, *(new_job(name, dedupe_key="d") for name in ("a", "b", "c")))
    claimed = await claim(store, max_jobs=10)
    assert [job.id for job in claimed] == ["a"]
    await complete(store, claimed[0], output="once")
    assert sorted(heard.finished) == ["a", "b", "c"]
    for name in ("b", "c"):
        result = await store.result(name)
        assert result is not None
        assert (result.job.status, result.output) == (JobStatus.COMPLETED, "once")


async def test_when_the_first_fails_the_next_identical_job_runs(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, *(new_job(name, dedupe_key="d") for name in ("a", "b", "c")))
    (claimed,) = await claim(store)
    heard.forget()
    await complete(store, claimed, outcome=AttemptOutcome.FAILED)
    assert heard.ready == {PYTHON: 1}
    (claimed,) = await claim(store)
    assert claimed.id == "b"
    await complete(store, claimed)
    job = await store.job("c")
    assert job is not None
    assert job.status is JobStatus.COMPLETED


async def test_a_cancelled_leader_hands_over(store: Store) -> None:
    await register(store)
    await submit(store, *(new_job(name, dedupe_key="d") for name in ("a", "b")))
    await store.cancel("a", 0.0, TTL, node_answers=False)
    (claimed,) = await claim(store)
    assert claimed.id == "b"


async def test_a_follower_can_be_cancelled_alone(store: Store) -> None:
    await register(store)
    await submit(store, *(new_job(name, dedupe_key="d") for name in ("a", "b", "c")))
    await store.cancel("b", 0.0, TTL, node_answers=False)
    (claimed,) = await claim(store)
    await complete(store, claimed)
    statuses = [job.status if (job := await store.job(name)) else None for name in ("a", "b", "c")]
    assert statuses == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]


async def test_a_job_for_later_is_not_claimable_before(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("later", run_at=50.0))
    assert heard.ready == {}
    assert await claim(store, now=49.9) == ()
    assert [job.id for job in await claim(store, now=50.0)] == ["later"]
