"""Handing out: best rank first, only what was asked for, each attempt to one node."""

import asyncio

import pytest

from broker.domain.words import JobStatus
from broker.store.base import Store
from broker.store.records.attempt import ClaimRequest
from support.jobs import PYTHON, RUBY, TTL, claim, complete, new_job, register, submit
from support.stores import Heard

pytestmark = pytest.mark.anyio


async def test_jobs_come_in_order_of_rank_then_arrival(store: Store) -> None:
    await register(store)
    await submit(store, new_job("c", rank=2.0), new_job("a", rank=1.0), new_job("b", rank=1.0))
    assert [job.id for job in await claim(store, max_jobs=3)] == ["a", "b", "c"]


async def test_classes_are_merged_by_rank(store: Store) -> None:
    await register(store)
    await submit(
        store,
        new_job("ruby-1", class_key=RUBY, rank=1.0),
        new_job("py-2", rank=2.0),
        new_job("ruby-3", class_key=RUBY, rank=3.0),
    )
    claimed = await claim(store, classes=(PYTHON, RUBY), max_jobs=2)
    assert [job.id for job in claimed] == ["ruby-1", "py-2"]


async def test_at_equal_rank_the_class_named_first_wins(store: Store) -> None:
    await register(store)
    await submit(store, new_job("ruby", class_key=RUBY, rank=1.0), new_job("py", rank=1.0))
    assert [job.id for job in await claim(store, classes=(PYTHON, RUBY))] == ["py"]


async def test_with_bounds_few_of_many_classes_are_looked_at(store: Store, heard: Heard) -> None:
    await register(store)
    kinds = tuple(f'["kind-{number}"]' for number in range(200))
    await submit(store, *(new_job(class_key=kind, rank=float(place)) for place, kind in enumerate(kinds)))
    bounds = tuple(heard.bounds[kind] for kind in kinds)
    grant = await store.claim(ClaimRequest("node-1", kinds, max_jobs=2, bounds=bounds), 0.0)
    assert len(grant.jobs) == 2
    assert heard.changes[-1].drained == set(kinds[:2]), "two were looked at, and no third"


async def test_other_classes_stay(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("ruby", class_key=RUBY))
    assert await claim(store, classes=(PYTHON,)) == ()
    assert heard.changes[-1].drained == {PYTHON}


async def test_an_emptied_class_is_reported(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job(), new_job())
    await claim(store)
    assert heard.changes[-1].drained == set()
    await claim(store, max_jobs=5)
    assert heard.changes[-1].drained == {PYTHON}


async def test_a_claim_bumps_fence_and_attempt(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (first,) = await claim(store)
    await store.release("node-1", [("a", first.fence)], 0.0, TTL)
    (second,) = await claim(store)
    assert (first.fence, first.attempt) == (1, 1)
    assert (second.fence, second.attempt) == (2, 1), "a released attempt is given back, its fence is not"


async def test_the_same_claim_number_gets_the_same_attempts(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"), new_job("b"), new_job("c"))
    first = await claim(store, claim_number=1, max_jobs=2)
    again = await claim(store, claim_number=1, max_jobs=2)
    assert again == first
    assert [job.id for job in await claim(store, claim_number=2, max_jobs=2)] == ["c"]


async def test_capacity_counts_what_is_held(store: Store) -> None:
    await register(store)
    await submit(store, *(new_job() for _ in range(5)))
    grant = await store.claim(ClaimRequest("node-1", (PYTHON,), max_jobs=64, capacity=3), 0.0)
    assert len(grant.jobs) == 3
    full = await store.claim(ClaimRequest("node-1", (PYTHON,), max_jobs=1, capacity=3), 0.0)
    assert (full.jobs, full.full) == ((), True)
    await complete(store, grant.jobs[0])
    more = await store.claim(ClaimRequest("node-1", (PYTHON,), max_jobs=64, capacity=3), 0.0)
    assert len(more.jobs) == 1


async def test_a_session_that_has_ended_gets_nothing(store: Store) -> None:
    old = await register(store)
    await submit(store, new_job("a"))
    new = await register(store)
    late = await store.claim(ClaimRequest("node-1", (PYTHON,), 1, session_number=old), 0.0)
    assert (late.jobs, late.ended) == ((), True)
    assert len((await store.claim(ClaimRequest("node-1", (PYTHON,), 1, session_number=new), 0.0)).jobs) == 1
    assert (await store.claim(ClaimRequest("nobody", (PYTHON,), 1, session_number=1), 0.0)).ended


async def test_an_answer_does_not_grow_without_bound(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, *(new_job(code="x" * (7 * 1024 * 1024)) for _ in range(4)))
    assert len(await claim(store, max_jobs=10)) == 2
    assert heard.changes[-1].drained == set()
    assert len(await claim(store, max_jobs=10)) == 2
    await submit(store, new_job("huge", code="x" * (20 * 1024 * 1024)), new_job("small"))
    assert [job.id for job in await claim(store, max_jobs=10)] == ["huge"]


async def test_no_job_goes_to_two_nodes(store: Store) -> None:
    for number in range(16):
        await register(store, f"node-{number}")
    await submit(store, *(new_job() for _ in range(200)))
    grants = await asyncio.gather(*(claim(store, f"node-{number % 16}", max_jobs=3) for number in range(100)))
    ids = [job.id for grant in grants for job in grant]
    assert len(ids) == len(set(ids)) == 200


async def test_started_jobs_run(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store, now=1.0)
    assert await store.start("node-1", [("a", claimed.fence)], 5.0, 15.0) == []
    job = await store.job("a")
    assert job is not None
    assert (job.status, job.started_at) == (JobStatus.RUNNING, 5.0)
    (attempt,) = await store.attempts("a")
    assert (attempt.claimed_at, attempt.started_at, attempt.ended_at) == (1.0, 5.0, None)


async def test_starting_what_is_not_held_says_why(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    await store.release("node-1", [("a", claimed.fence)], 0.0, TTL)
    lost = await store.start("node-1", [("a", claimed.fence), ("nobody", 1)], 5.0, 15.0)
    assert [(item.job_id, item.reason.value) for item in lost] == [("a", "rescued"), ("nobody", "unknown_job")]
