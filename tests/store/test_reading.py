"""Listings and what they filter by."""

import asyncio
import threading

import pytest

from broker.domain.words import JobStatus
from broker.store.base import Store
from broker.store.reader import Reader
from broker.store.records.job import Job, JobFilter
from support.jobs import claim, new_job, register, submit

pytestmark = pytest.mark.anyio


async def ids(store: Store, **given: object) -> list[str]:
    jobs, _ = await store.list_jobs(JobFilter(**given))  # type: ignore[arg-type]  # each test gives what fits
    return [job.id for job in jobs]


async def test_newest_first_in_pages(store: Store) -> None:
    await submit(store, *(new_job(f"p{n}") for n in range(5)))
    seen, cursor = [], None
    for _ in range(3):
        jobs, cursor = await store.list_jobs(JobFilter(before=cursor, limit=2))
        seen.append([job.id for job in jobs])
    assert seen == [["p4", "p3"], ["p2", "p1"], ["p0"]]
    assert cursor is None


async def test_filters(store: Store) -> None:
    await register(store)
    await submit(
        store,
        new_job("red", labels='{"team":"red","a.b\\"c":"x"}'),
        new_job("ann", submitter="ann"),
        new_job("plain"),
    )
    await claim(store)
    assert await ids(store, status=JobStatus.ASSIGNED) == ["red"]
    assert await ids(store, status=JobStatus.PENDING) == ["plain", "ann"]
    assert await ids(store, submitter="ann") == ["ann"]
    assert await ids(store, label=("team", "red")) == ["red"]
    assert await ids(store, label=("team", "blue")) == []


async def test_what_is_unknown_is_not_there(store: Store) -> None:
    assert await store.job("nobody") is None
    assert await store.result("nobody") is None
    assert await store.attempts("nobody") == []
    assert not await store.was_deleted("nobody")
    assert await store.held_by("nobody") == []
    assert (await store.why_lost("nobody")).reason.value == "unknown_job"


async def test_text_comes_back_as_it_went_in(store: Store) -> None:
    code = "nul \x00 snow ☃ rocket \U0001f680 line\r\n"
    await register(store)
    await submit(store, new_job("t", code=code))
    (claimed,) = await claim(store)
    assert claimed.code == code


async def test_files_of_a_job_do_not_wait_for_lists_that_walk_far(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, begun = threading.Event(), threading.Event()
    read = Reader.list_jobs

    def walk_far(self: Reader, wanted: JobFilter) -> tuple[list[Job], int | None]:
        begun.set()
        assert may_end.wait(200)
        return read(self, wanted)

    monkeypatch.setattr(Reader, "list_jobs", walk_far)
    lists = [asyncio.ensure_future(store.list_jobs(JobFilter(limit=10))) for _ in range(3)]
    try:
        assert await asyncio.to_thread(begun.wait, 60)
        async with asyncio.timeout(60):
            assert await store.artifacts("job") == []
            assert await store.histories(["job"]) == []
        assert not any(each.done() for each in lists)
    finally:
        may_end.set()
    assert await asyncio.gather(*lists) == [([], None)] * 3
