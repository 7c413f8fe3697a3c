"""What is owed to callback URLs goes with its job, however many jobs there are, and never before it was told."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from broker.store import webhooks
from broker.store.base import Store
from broker.store.records.submission import OwedWebhook, Webhook
from broker.store.webhooks import LOOKED_AT_A_TIME
from support.jobs import POLICY, TTL, claim, complete, new_job, register, submit
from support.stores import Heard, opened

pytestmark = pytest.mark.anyio
NONE: frozenset[str] = frozenset()
LATER = TTL + 10.0


async def _ended_jobs(store: Store, count: int) -> list[Webhook]:
    """So many jobs that ended, and what is owed for each."""
    await register(store)
    hooks = [Webhook(f"wh_{n:04d}", f"job-{n:04d}", "http://127.0.0.1:9/") for n in range(count)]
    await submit(store, *(new_job(hook.job_id, webhook=hook) for hook in hooks))
    for _ in hooks:
        (job,) = await claim(store)
        await complete(store, job)
    return hooks


async def test_a_told_webhook_goes_with_its_job_and_an_owed_one_when_it_was_told(store: Store) -> None:
    told, owed = await _ended_jobs(store, 2)
    await store.webhooks.save(replace(told, state="delivered"))
    assert len(await store.webhooks.of_job(told.job_id)) == 1
    assert (await store.sweep(LATER, POLICY, NONE)).deleted == 2
    assert await store.webhooks.of_job(told.job_id) == []
    assert await store.webhooks.owed("") == ([OwedWebhook(owed.id, owed.job_id, None, False, True)], None)
    await store.webhooks.save(replace(owed, attempts=1, payload="{}"))
    assert len(await store.webhooks.of_job(owed.job_id)) == 1, "the next try has not been yet"
    await store.webhooks.save(replace(owed, state="failed", attempts=2))
    assert await store.webhooks.of_job(owed.job_id) == []


async def test_what_an_earlier_version_left_is_dropped_some_at_a_time(
    store_name: str, tmp_path: Path, heard: Heard
) -> None:
    async with opened(store_name, tmp_path, heard) as store:
        (kept,) = await _ended_jobs(store, 1)
        await store.webhooks.save(replace(kept, state="delivered"))
    left = LOOKED_AT_A_TIME + 5
    with closing(sqlite3.connect(tmp_path / "broker.db")) as database, database:
        database.executemany(
            "INSERT INTO webhooks (id, job_id, url, state, attempts, created_at, deliveries)"
            " VALUES (?, ?, '', ?, 0, 0, '[]')",
            [(f"wh_x{n:04d}", f"gone-{n}", "owed" if n == 3 else "delivered") for n in range(left)],
        )
    async with opened(store_name, tmp_path, heard) as store:
        place = await store.webhooks.drop_left("")
        assert place is not None
        assert await store.webhooks.drop_left(place) is None
    with closing(sqlite3.connect(tmp_path / "broker.db")) as database:
        assert {name for (name,) in database.execute("SELECT id FROM webhooks")} == {kept.id, "wh_x0003"}


async def test_what_is_owed_is_read_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "READ_AT_A_TIME", 2)
    first, second, third = await _ended_jobs(store, 3)
    waiting = Webhook("wh_z", "job-z", first.url)
    await submit(store, new_job(waiting.job_id, webhook=waiting))
    await store.webhooks.save(replace(second, payload="{}", next_at=5.0))
    page, place = await store.webhooks.owed("")
    assert page == [
        OwedWebhook(first.id, first.job_id, None, False, True),
        OwedWebhook(second.id, second.job_id, 5.0, True, True),
    ]
    assert place is not None
    page, place = await store.webhooks.owed(place)
    assert [(each.id, each.job_ended) for each in page] == [(third.id, True), (waiting.id, False)]
    assert place is not None
    assert await store.webhooks.owed(place) == ([], None)
    found = await store.webhooks.one(second.id)
    assert found is not None
    assert found.payload == "{}"
    assert await store.webhooks.one("wh_none") is None
