"""Verified jobs: one node after the other, each once, until so many results are equal or never can be."""

import json
from typing import Any

import pytest

from broker.domain.barring import barring
from broker.domain.words import AttemptOutcome, Failure
from broker.store.base import Store
from broker.store.records.attempt import ClaimedJob
from broker.store.records.job import Job, StoredFile
from broker.store.records.submission import NewJob
from support.jobs import POLICY, PYTHON, TTL, claim, complete, new_job, register, submit
from support.stores import Heard

pytestmark = pytest.mark.anyio
NODES = ("n1", "n2", "n3", "n4")


async def present(store: Store, job_id: str = "a") -> Job:
    job = await store.job(job_id)
    assert job is not None
    return job


async def ends(store: Store, job_id: str = "a") -> tuple[str, str | None]:
    job = await present(store, job_id)
    return job.status.value, job.failure.value if job.failure else None


async def next_of(store: Store, node: str, job_id: str = "a") -> ClaimedJob | None:
    """What a node gets that asks for everything it could run."""
    keys = (PYTHON, *{(await present(store, job_id)).class_key} - {PYTHON})
    got = await claim(store, node, classes=keys)
    return got[0] if got else None


async def run(store: Store, node: str, **said: Any) -> ClaimedJob:
    """Claim and complete."""
    claimed = await next_of(store, node)
    assert claimed is not None, f"{node} gets nothing"
    assert (await complete(store, claimed, node, **said)).word == "ok"
    return claimed


async def ready(store: Store, replicas: int, quorum: int, **given: Any) -> NewJob:
    for node in NODES:
        await register(store, node)
    job = new_job("a", replicas=replicas, quorum=quorum, **given)
    await submit(store, job)
    return job


async def test_equal_results_of_distinct_nodes_end_it(store: Store, heard: Heard) -> None:
    await ready(store, 3, 2)
    await run(store, "n1", output="42", usage=(1.0, 1.0, 1))
    assert await ends(store) == ("pending", None)
    job = await present(store)
    assert (job.results, job.equal, job.class_key) == (1, 1, barring(PYTHON, ["n1"]))
    assert heard.ready[job.class_key] == 1, "whoever waits for it is told"
    assert await next_of(store, "n1") is None, "a node gives one result"
    await run(store, "n2", output="wrong")
    await run(store, "n3", output="42", usage=(9.0, 9.0, 9))
    result = await store.result("a")
    assert result is not None
    assert (result.output, result.job.status.value, result.job.node_id) == ("42", "completed", "n3")
    assert (result.job.results, result.job.equal, result.job.attempt, result.job.losses) == (3, 2, 3, 0)
    assert json.loads(result.details or "")["verified"]["nodes"] == ["n1", "n3"]
    digests = [attempt.result_digest for attempt in await store.attempts("a")]
    assert digests[0] == digests[2] != digests[1]
    assert heard.finished == ["a"]
    assert await counters(store) == {"n1": (1, 0), "n2": (1, 0), "n3": (1, 0), "n4": (0, 0)}


async def counters(store: Store) -> dict[str, tuple[int, int]]:
    return await store.node_counters()


async def test_it_stops_as_soon_as_it_is_decided(store: Store) -> None:
    await ready(store, 3, 2)
    for node in ("n1", "n2"):
        await run(store, node, output="42")
    assert await ends(store) == ("completed", None)
    assert (await present(store)).attempt == 2


async def test_results_that_differ_are_a_failure_without_a_result(store: Store, heard: Heard) -> None:
    await ready(store, 2, 2)
    files = (StoredFile("f", "0" * 64, 1),)
    await run(store, "n1", output="1")
    await run(store, "n2", output="2", artifacts=files, file_count=1, details='{"signal": 9}')
    result = await store.result("a")
    assert result is not None
    assert await ends(store) == ("failed", "verification")
    assert (result.output, result.error, result.details, result.job.exit_code, result.job.file_count) == (
        "",
        "",
        None,
        None,
        0,
    )
    assert await store.artifacts("a") == []
    assert heard.finished == ["a"]


async def test_failures_can_be_verified_too(store: Store) -> None:
    await ready(store, 2, 2)
    for node in ("n1", "n2"):
        await run(store, node, outcome=AttemptOutcome.FAILED, exit_code=3)
    assert await ends(store) == ("failed", "exit")
    result = await store.result("a")
    assert result is not None
    assert (result.job.exit_code, json.loads(result.details or "")["verified"]["nodes"]) == (3, ["n1", "n2"])
    assert (await counters(store))["n1"] == (0, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": AttemptOutcome.FAILED, "exit_code": 1},
        {"outcome": AttemptOutcome.FAILED, "exit_code": 0, "failure": Failure.TIMEOUT},
        {"error": "warning"},
        {"output_binary": b"\xff"},
        {"artifacts": (StoredFile("f", "1" * 64, 1),)},
        {"artifacts": (StoredFile("g", "0" * 64, 1),)},
        {"details": '{"artifacts_dropped": [{"path": "x", "reason": "too_large"}]}'},
        {"details": '{"output_bytes": 10}'},
    ],
)
async def test_what_is_compared(store: Store, other: dict[str, object]) -> None:
    await ready(store, 2, 2)
    said = {"output": "o", "error": "e", "artifacts": (StoredFile("f", "0" * 64, 1),)}
    await run(store, "n1", **said)
    await run(store, "n2", **said | other)
    assert await ends(store) == ("failed", "verification")


async def test_what_is_not_compared(store: Store) -> None:
    await ready(store, 2, 2)
    await run(
        store, "n1", usage=(1.0, 2.0, 3), message="m", details='{"usage": {"wall_seconds": 1.0}, "output_bytes": 3}'
    )
    await run(store, "n2", usage=(4.0, 5.0, 6), artifacts=(), details='{"execution": {"worker_id": "w"}}')
    assert await ends(store) == ("completed", None)


async def test_a_lost_node_gave_no_result_and_may_have_it_again(store: Store) -> None:
    await ready(store, 2, 2)
    await run(store, "n1")
    zombie = await next_of(store, "n2")
    assert zombie is not None
    await store.rescue(["n2"], 1.0, TTL)
    assert (await present(store)).losses == 1
    assert await next_of(store, "n1") is None, "n1 stays barred"
    again = await next_of(store, "n2")
    assert again is not None
    assert (await complete(store, zombie, "n2")).word == "stale_lease"
    assert (await complete(store, again, "n2")).word == "ok"
    assert await ends(store) == ("completed", None)


async def test_replicas_use_no_retries(store: Store) -> None:
    await ready(store, 4, 4, max_retries=0)
    for node in NODES:
        await run(store, node)
    assert await ends(store) == ("completed", None)


async def test_losses_are_counted_over_all_replicas(store: Store) -> None:
    await ready(store, 2, 2, max_retries=1)
    await next_of(store, "n1")
    await store.rescue(["n1"], 0.0, TTL)
    await run(store, "n1")
    await next_of(store, "n2")
    await store.rescue(["n2"], 0.0, TTL)
    assert await ends(store) == ("failed", "node_lost")


async def test_a_result_said_twice_counts_once(store: Store) -> None:
    await ready(store, 2, 2)
    claimed = await run(store, "n1")
    assert (await complete(store, claimed, "n1")).word == "duplicate"
    job = await present(store)
    assert (job.status.value, job.results) == ("pending", 1)


async def test_a_released_replica_is_given_to_whoever_has_not_run_it(store: Store) -> None:
    await ready(store, 2, 2)
    await run(store, "n1")
    claimed = await next_of(store, "n2")
    assert claimed is not None
    await store.release("n2", [("a", claimed.fence)], 0.0, TTL)
    assert await next_of(store, "n1") is None
    assert await next_of(store, "n3") is not None


async def test_a_rerun_that_retry_on_asks_for_is_no_result(store: Store) -> None:
    await ready(store, 2, 2, retry_on="exit", max_retries=1)
    await run(store, "n1", outcome=AttemptOutcome.FAILED)
    job = await present(store)
    assert (job.results, job.run_at is not None) == (None, True)
    await store.sweep(100.0, POLICY, frozenset())
    await run(store, "n1", outcome=AttemptOutcome.FAILED)
    await run(store, "n2", outcome=AttemptOutcome.FAILED)
    assert await ends(store) == ("failed", "exit")


async def test_a_cancel_ends_it_between_two_replicas_and_within_one(store: Store) -> None:
    await ready(store, 3, 3)
    await submit(store, new_job("b", replicas=3, quorum=3, rank=0.0))
    for job_id in ("b", "a"):
        (claimed,) = await claim(store, "n1")
        assert claimed.id == job_id
        if job_id == "a":
            await store.cancel("a", 0.0, TTL, node_answers=True)
        await complete(store, claimed, "n1")
    assert await ends(store, "a") == ("failed", "cancelled"), "a result that decides nothing does not outrun a cancel"
    assert await ends(store, "b") == ("pending", None)
    await store.cancel("b", 0.0, TTL, node_answers=True)
    assert await ends(store, "b") == ("failed", "cancelled")


async def test_a_deciding_result_outruns_a_cancel(store: Store) -> None:
    await ready(store, 2, 2)
    await run(store, "n1")
    claimed = await next_of(store, "n2")
    assert claimed is not None
    await store.cancel("a", 0.0, TTL, node_answers=True)
    await complete(store, claimed, "n2")
    assert await ends(store) == ("completed", None)


async def test_without_a_further_node_it_ends_as_unverified(store: Store) -> None:
    await ready(store, 2, 2, give_up_at=10.0)
    await run(store, "n1")
    waiting = (await present(store)).class_key
    await store.sweep(11.0, POLICY, frozenset({waiting}))
    assert await ends(store) == ("failed", "verification")
    await submit(store, new_job("b", replicas=2, quorum=2), new_job("c"))
    (b,) = await claim(store, "n1")
    await complete(store, b, "n1")
    assert await store.reject_class(waiting, 20.0, 20.0, POLICY) == 1
    assert await ends(store, "b") == ("failed", "verification")
    assert await ends(store, "c") == ("pending", None)


async def test_its_deadline_ends_it_while_nodes_could_run_it(store: Store) -> None:
    await ready(store, 2, 2, give_up_at=10.0)
    await run(store, "n1")
    await store.sweep(11.0, POLICY, frozenset())
    assert await ends(store) == ("failed", "expired")


async def test_identical_jobs_take_over_a_verified_success_only(store: Store) -> None:
    await ready(store, 2, 2, dedupe_key="same")
    await submit(store, new_job("follower", replicas=2, quorum=2, dedupe_key="same"))
    await run(store, "n1")
    assert await ends(store, "follower") == ("pending", None)
    await run(store, "n2")
    copy = await store.result("follower")
    assert copy is not None
    assert (copy.job.status.value, copy.job.cached, copy.job.equal) == ("completed", True, 2)
    await submit(store, new_job("later", replicas=2, quorum=2, dedupe_key="same"))
    later = await present(store, "later")
    assert (later.status.value, later.cached, later.results, later.equal) == ("completed", True, 2, 2)
    assert json.loads(copy.details or "")["verified"]["nodes"] == ["n1", "n2"]


async def test_the_next_identical_job_runs_when_verification_failed(store: Store) -> None:
    await ready(store, 2, 2, dedupe_key="same")
    await submit(store, new_job("heir", replicas=2, quorum=2, dedupe_key="same"))
    await run(store, "n1", output="1")
    await run(store, "n2", output="2")
    (heir,) = await claim(store, "n1")
    assert heir.id == "heir", "it begins anew, with any node"


async def test_the_verdict_of_the_platform_is_no_result(store: Store) -> None:
    await ready(store, 2, 2)
    await run(store, "n1", outcome=AttemptOutcome.PLATFORM)
    job = await present(store)
    assert (job.results, job.losses) == (None, 1)
    assert Failure.PLATFORM not in {attempt.failure for attempt in await store.attempts("a")}
