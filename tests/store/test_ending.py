"""Ends of attempts: only the attempt that holds the job is heard, and a job ends once."""

import pytest

from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.store.base import Store
from support.jobs import PYTHON, TTL, claim, complete, completion, new_job, register, submit
from support.stores import Heard

pytestmark = pytest.mark.anyio


async def status_of(store: Store, job_id: str) -> tuple[str, str | None]:
    job = await store.job(job_id)
    assert job is not None
    return job.status.value, job.failure.value if job.failure else None


async def counters_of(store: Store, node_id: str = "node-1") -> tuple[int, int]:
    (node,) = [node for node in await store.nodes() if node.id == node_id]
    return node.jobs_completed, node.jobs_failed


async def test_a_success_is_kept(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    outcome = await complete(store, claimed, now=7.0, output="hello", usage=(0.5, 0.25, 1024), digest="d")
    assert outcome.word == "ok"
    result = await store.result("a")
    assert result is not None
    assert (result.output, result.job.exit_code, result.job.completed_at, result.job.expires_at) == (
        "hello",
        0,
        7.0,
        107.0,
    )
    (attempt,) = await store.attempts("a")
    assert (
        attempt.outcome,
        attempt.wall_seconds,
        attempt.cpu_seconds,
        attempt.memory_peak_bytes,
        attempt.output_digest,
    ) == (
        AttemptOutcome.COMPLETED,
        0.5,
        0.25,
        1024,
        "d",
    )
    assert heard.finished == ["a"]
    assert await counters_of(store) == (1, 0)


async def test_an_exit_code_is_a_result(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    await complete(store, claimed, outcome=AttemptOutcome.FAILED, exit_code=7)
    assert await status_of(store, "a") == ("failed", "exit")
    assert await counters_of(store) == (0, 1)


async def test_the_same_completion_twice_is_a_duplicate_and_changes_nothing(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    await complete(store, claimed, output="first")
    outcome = await complete(store, claimed, outcome=AttemptOutcome.FAILED, output="second")
    assert outcome.word == "duplicate"
    result = await store.result("a")
    assert result is not None
    assert (result.output, result.job.status) == ("first", JobStatus.COMPLETED)
    assert await counters_of(store) == (1, 0)


async def test_a_zombie_is_refused(store: Store) -> None:
    await register(store, "old")
    await register(store, "new")
    await submit(store, new_job("a"))
    (before,) = await claim(store, "old")
    await store.rescue(["old"], 1.0, TTL)
    (after,) = await claim(store, "new", now=2.0)
    assert (await complete(store, before, "old", output="late")).word == "stale_lease"
    assert (await complete(store, after, "old", output="late")).word == "stale_lease", "the fence is not enough"
    assert (await complete(store, after, "new", output="right")).word == "ok"
    assert (await complete(store, before, "old", output="later")).word == "stale_lease"
    result = await store.result("a")
    assert result is not None
    assert result.output == "right"
    assert await counters_of(store, "old") == (0, 0)


async def test_a_result_after_the_lease_but_before_the_rescue_counts(store: Store) -> None:
    await register(store, lease_until=5.0)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    assert (await complete(store, claimed, now=50.0)).word == "ok"
    assert await store.rescue(["node-1"], 51.0, TTL) == []


async def test_without_a_fence_the_holder_is_meant(store: Store) -> None:
    await register(store, "holder")
    await register(store, "other")
    await submit(store, new_job("a"))
    await claim(store, "holder")
    (refused,) = await store.complete("other", [completion("a", None)], 0.0, TTL)
    (taken,) = await store.complete("holder", [completion("a", None)], 0.0, TTL)
    (again,) = await store.complete("holder", [completion("a", None)], 0.0, TTL)
    assert [refused.word, taken.word, again.word] == ["stale_lease", "ok", "duplicate"]


async def test_a_batch_is_judged_one_by_one(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"), new_job("b"))
    a, b = await claim(store, max_jobs=2)
    outcomes = await store.complete(
        "node-1",
        [completion("a", a.fence), completion("b", b.fence + 1), completion("nobody", 1), completion("a", a.fence)],
        0.0,
        TTL,
    )
    assert [outcome.word for outcome in outcomes] == ["ok", "stale_lease", "unknown_job", "duplicate"]


async def test_a_platform_failure_is_tried_again_with_backoff_until_the_retries_are_used(
    store: Store, heard: Heard
) -> None:
    await register(store)
    await submit(store, new_job("a", max_retries=2))
    now, waits = 0.0, []
    while (await status_of(store, "a"))[0] == "pending":
        job = await store.job("a")
        assert job is not None
        waits.append((job.run_at or now) - now)
        now = job.run_at or now
        (claimed,) = await claim(store, now=now)
        await complete(store, claimed, now=now, outcome=AttemptOutcome.PLATFORM, message="no sandbox")
    assert waits == [0.0, 0.5, 1.0], "half of 1 s, then of 2 s"
    assert await status_of(store, "a") == ("failed", "platform")
    assert [attempt.number for attempt in await store.attempts("a")] == [1, 2, 3]
    assert await counters_of(store) == (0, 1)


async def test_a_failure_runs_again_only_when_the_job_asks(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a", retry_on="exit,memory", max_retries=1))
    (first,) = await claim(store)
    await complete(store, first, outcome=AttemptOutcome.FAILED, output="one")
    assert (await status_of(store, "a"))[0] == "pending"
    (second,) = await claim(store, now=60.0)
    assert (second.attempt, second.fence) == (2, 2)
    await complete(store, second, outcome=AttemptOutcome.FAILED, output="two")
    assert await status_of(store, "a") == ("failed", "exit")
    result = await store.result("a")
    assert result is not None
    assert result.output == "two"


async def test_reruns_and_losses_are_counted_apart(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a", retry_on="exit", max_retries=1))
    await claim(store)
    await store.rescue(["node-1"], 0.0, TTL)
    (second,) = await claim(store)
    await complete(store, second, outcome=AttemptOutcome.FAILED)
    assert (await status_of(store, "a"))[0] == "pending"
    (third,) = await claim(store, now=100.0)
    assert (await complete(store, third, now=100.0)).word == "ok"
    job = await store.job("a")
    assert job is not None
    assert (job.attempt, job.losses) == (3, 1)


async def test_released_jobs_are_claimable_at_once(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    heard.forget()
    assert await store.release("node-1", [("a", 99), ("nobody", 1)], 0.0, TTL) == []
    assert await store.release("node-1", [("a", claimed.fence)], 0.0, TTL) == [("a", claimed.fence)]
    assert await store.release("node-1", [("a", claimed.fence)], 0.0, TTL) == []
    assert heard.ready == {PYTHON: 1}
    (attempt,) = await store.attempts("a")
    assert attempt.outcome is AttemptOutcome.RELEASED


async def test_cancel_a_pending_job(store: Store, heard: Heard) -> None:
    await register(store)
    await submit(store, new_job("a"))
    outcome = await store.cancel("a", 3.0, TTL, node_answers=True)
    assert outcome is not None
    assert (outcome.status, outcome.failure) == (JobStatus.FAILED, Failure.CANCELLED)
    assert await claim(store) == ()
    assert heard.finished == ["a"]
    again = await store.cancel("a", 4.0, TTL, node_answers=True)
    assert again == outcome


async def test_cancel_an_unknown_job(store: Store) -> None:
    assert await store.cancel("nobody", 0.0, TTL, node_answers=True) is None


async def test_cancel_a_held_job_whose_node_is_not_there_to_ask(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    outcome = await store.cancel("a", 3.0, TTL, node_answers=False)
    assert outcome is not None
    assert (outcome.status, outcome.node_id, outcome.fence) == (JobStatus.FAILED, "node-1", 1)
    assert (await complete(store, claimed)).word == "stale_lease"
    assert (await store.why_lost("a")).reason.value == "cancelled"


async def test_cancel_a_held_job_whose_node_delivers(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    outcome = await store.cancel("a", 3.0, TTL, node_answers=True)
    assert outcome is not None
    assert outcome.requested
    assert [attempt.cancel_requested for attempt in await store.held_by("node-1")] == [True]
    await complete(store, claimed, outcome=AttemptOutcome.FAILED, failure=Failure.CANCELLED, output="so far")
    assert await status_of(store, "a") == ("failed", "cancelled")
    result = await store.result("a")
    assert result is not None
    assert result.output == "so far"


async def test_a_job_that_ended_before_the_cancel_arrived_keeps_its_success(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    (claimed,) = await claim(store)
    await store.cancel("a", 3.0, TTL, node_answers=True)
    await complete(store, claimed)
    assert await status_of(store, "a") == ("completed", None)


async def test_a_cancelled_job_is_not_rescued_into_the_queue(store: Store) -> None:
    await register(store)
    await submit(store, new_job("a"))
    await claim(store)
    await store.cancel("a", 3.0, TTL, node_answers=True)
    await store.rescue(["node-1"], 4.0, TTL)
    assert await status_of(store, "a") == ("failed", "cancelled")


async def test_what_a_cancelled_jobs_last_attempt_was_is_counted(store: Store) -> None:
    await register(store, slots=2)
    await submit(store, new_job("lost"), new_job("handed back"))
    lost, back = await claim(store, max_jobs=2)
    for claimed in (lost, back):
        await store.cancel(claimed.id, 3.0, TTL, node_answers=True)
    await store.release("node-1", [(back.id, back.fence)], 4.0, TTL)
    await store.rescue(["node-1"], 4.0, TTL)
    for name, counted in (("lost", (1, 1)), ("handed back", (0, 0))):
        job = await store.job(name)
        assert job is not None
        assert (job.failure, job.attempt, job.losses) == (Failure.CANCELLED, *counted)
