"""The disk is full, the file is locked, a reader does not go away, a second broker comes (scenarios 13 to 16)."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chaos.load import Load
from chaos.node import SimNode
from chaos.rig import Scenario
from support.broker_process import BrokerProcess
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]
MIB = 1024 * 1024


@contextmanager
def foreign(database: Path, statement: str) -> Iterator[sqlite3.Connection]:
    """Another program's connection inside a transaction; it ends with the block."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
        connection.execute(statement)
        if statement == "BEGIN":
            connection.execute("SELECT count(*) FROM job_states").fetchone()  # takes the snapshot
        yield connection
        connection.execute("ROLLBACK")


async def test_a_full_disk_refuses_whole_groups_and_heals_without_a_restart(scenario: Make) -> None:
    async with scenario() as s:
        node = await s.registered(slots=2)
        await s.client().submit_many(["ok a", "ok b"])
        done, open_run = await node.claim(max_jobs=2)
        await s.broker.cap_pages(30)
        clients = [s.client(f"client-{n}") for n in range(60)]
        refused = 0
        for _ in range(40):
            calls = await asyncio.gather(
                *(client.call("submit", "POST", "/submit", {"code": f"ok {'x' * 2000}"}) for client in clients)
            )
            assert {call.status for call in calls} <= {200, 503}
            refused += sum(call.status == 503 for call in calls)
            if refused > 200:
                break
        assert refused > 200, "the cap was never reached"
        assert all(call.body["error"] for call in calls if call.status == 503)
        full = await node.complete(done, once=True)
        assert full.status in (200, 503)
        assert (await s.client().call("health", "GET", "/nodes")).status == 200, "reading goes on"
        await s.broker.cap_pages(0)
        assert (await node.complete(done)).status == 200
        assert (await node.complete(open_run)).status == 200
        job = await s.client().submit("ok after")
        acknowledged = {call.body["job_id"] for call in s.history.calls("submit") if call.status == 200}
        jobs = set(s.audit().jobs)
        assert job in jobs
        assert len(jobs) == len(acknowledged) + 2, "a refused submission left nothing behind"


async def test_a_short_foreign_lock_is_waited_for(scenario: Make) -> None:
    async with scenario() as s:
        node = await s.registered()
        with foreign(s.broker.database, "BEGIN IMMEDIATE"):
            submit = asyncio.create_task(s.client().call("submit", "POST", "/submit", {"code": "ok"}))
            started = time.monotonic()
            while time.monotonic() - started < 1:  # the lock's length, far below the patience of 5 s
                assert (await node.call("health", "GET", "/health", seconds=20)).status in (200, 503), "never a hang"
                await asyncio.sleep(0.1)  # the poll interval
            assert not submit.done()
        assert (await submit).status == 200


async def test_a_long_foreign_lock_gives_503_and_costs_no_node_its_jobs(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="6") as s:
        client, node = s.client(), s.node("beating")
        job = await client.submit("hang")
        s.work(node)
        await eventually(lambda: _held(node), seconds=60, what="the node has the job")
        with foreign(s.broker.database, "BEGIN IMMEDIATE"):
            started = time.monotonic()
            refused = await client.call("submit", "POST", "/submit", {"code": "ok"}, seconds=60)
            assert refused.status == 503, "the broker says that it cannot, instead of hanging"
            while time.monotonic() - started < 8:  # longer than the lease and the lock's patience
                assert (await client.status(job))["status"] in ("assigned", "running"), "reading goes on"
                await asyncio.sleep(0.1)  # the poll interval
        fresh = await client.submit("ok fresh")
        status = await client.status(job)
        assert status["status"] in ("assigned", "running")
        assert (s.audit().jobs[job]["fence"], s.audit().jobs[job]["losses"]) == (1, 0), "no mass expiry after the lock"
        await client.cancel(job)
        assert (await client.result(fresh))["status"] == "completed"


async def _held(node: SimNode) -> bool:
    return bool(node.held)


async def test_a_long_reader_does_not_stop_writes_and_the_log_shrinks_after_it(scenario: Make) -> None:
    async with scenario() as s:
        log = s.broker.database.with_name("broker.db-wal")
        async with Load(s, clients=32) as load:
            await load.reach(50)
            with foreign(s.broker.database, "BEGIN"):
                await load.reach(len(load.jobs) + 2000)
                grown = _size(log)
            await load.reach(len(load.jobs) + 200)
            await load.finish()
        bound = max(8 * MIB, 64 * MIB)
        await eventually(lambda: _at_most(log, bound), seconds=60, what=f"the log shrinks from {grown} to {bound}")


async def _at_most(path: Path, size: int) -> bool:
    return _size(path) <= size


def _size(path: Path) -> int:
    return path.stat().st_size


async def test_a_second_broker_on_the_same_file_refuses_to_start(scenario: Make) -> None:
    async with scenario() as s:
        second = BrokerProcess(s.broker.directory / "second", {"BROKER_DATABASE": str(s.broker.database)})
        second.spawn()
        code = await second.wait_ended(60)
        assert code > 0
        assert f"{s.broker.database}.lock is locked: another broker" in second.log_text()
        assert "Traceback" not in second.log_text()
        await s.client().submit("ok")


async def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path)
    broker.database.write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    broker.spawn()
    assert await broker.wait_ended(60) > 0
    assert "Traceback" not in broker.log_text()
    assert str(broker.database) in broker.log_text()
