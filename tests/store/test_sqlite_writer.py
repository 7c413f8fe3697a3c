"""What is SQLite's own: groups, a full disk, foreign locks, one process per file, the schema."""

import asyncio
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from broker.errors import OverloadedError, StartError, StoreBrokenError
from broker.store.changes import Changes
from broker.store.connection import FileLock, connect_writer
from broker.store.migrate import alembic_config, migrate
from broker.store.sqlite import SqliteStore
from broker.store.tables import metadata
from broker.store.transaction import Transaction
from broker.store.writer import GROUP_LIMIT, WAITING_BYTES, GroupWriter
from support.jobs import new_job, submit
from support.stores import Heard

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t (x) VALUES (:x)"


class Rig:
    """A writer on a table of one column."""

    def __init__(self, path: Path, limit: int = 1000) -> None:
        self.connection = connect_writer(path, durable=True)
        self.connection.execute("CREATE TABLE t (x UNIQUE)")
        self.statements: list[str] = []
        self.groups: list[int] = []
        self.connection.set_trace_callback(self.statements.append)
        self.writer = GroupWriter(self.connection, self._heard, limit=limit, jitter=random.Random(1))

    def _heard(self, group: list[Changes]) -> None:
        self.groups.append(len(group))

    def insert(self, value: Any, **options: Any) -> "asyncio.Future[int]":
        return self.writer.submit(lambda tx: tx.run(INSERT, {"x": value}), **options)

    async def hold(self) -> threading.Event:
        """Stop the writer inside an operation until the event is set."""
        entered, gate = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def stand_still(tx: Transaction) -> None:
            loop.call_soon_threadsafe(entered.set)
            gate.wait(60)

        self.held = self.writer.submit(stand_still)
        async with asyncio.timeout(60):
            await entered.wait()
        return gate

    def count(self, statement: str) -> int:
        return sum(text.startswith(statement) for text in self.statements)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "t.db")
    yield rig
    await rig.writer.close()


async def test_what_waits_shares_a_commit(rig: Rig) -> None:
    await asyncio.gather(*(rig.insert(number) for number in range(100)))
    assert sum(rig.groups) == 100
    assert rig.count("COMMIT") == len(rig.groups) < 60


async def test_a_group_is_bounded(rig: Rig) -> None:
    await asyncio.gather(*(rig.insert(number) for number in range(GROUP_LIMIT * 3)))
    assert max(rig.groups) <= GROUP_LIMIT


async def test_one_bad_operation_is_rolled_back_alone(rig: Rig) -> None:
    def half_done(tx: Transaction) -> None:
        tx.run(INSERT, {"x": "half"})
        raise ZeroDivisionError

    results = await asyncio.gather(rig.insert(1), rig.writer.submit(half_done), rig.insert(2), return_exceptions=True)
    assert isinstance(results[1], ZeroDivisionError)
    values = await rig.writer.submit(lambda tx: tx.rows("SELECT x FROM t ORDER BY x", {}))
    assert values == [(1,), (2,)]


async def test_too_much_waiting_is_refused_and_urgent_work_last(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "t.db", limit=4)
    gate = await rig.hold()
    waiting = [rig.insert(number) for number in range(4)]
    with pytest.raises(OverloadedError):
        rig.insert(5)
    waiting.append(rig.insert(6, urgent=True))
    gate.set()
    assert await asyncio.gather(*waiting) == [1] * 5
    await rig.writer.close()


async def test_too_many_bytes_waiting_are_refused(rig: Rig) -> None:
    gate = await rig.hold()
    waiting = [rig.insert(1, size=WAITING_BYTES)]
    with pytest.raises(OverloadedError):
        rig.insert(2)
    gate.set()
    await asyncio.gather(*waiting)
    await rig.insert(3)


async def test_urgent_work_goes_first(rig: Rig) -> None:
    done: list[str] = []
    gate = await rig.hold()
    normal = rig.writer.submit(lambda tx: done.append("normal"))
    urgent = rig.writer.submit(lambda tx: done.append("urgent"), urgent=True)
    gate.set()
    await asyncio.gather(normal, urgent)
    assert done == ["urgent", "normal"]


async def test_a_full_disk_fails_the_whole_group_and_passes(rig: Rig) -> None:
    await rig.insert("small")
    pages = rig.connection.execute("PRAGMA page_count").fetchone()[0]
    rig.connection.execute(f"PRAGMA max_page_count={pages}")
    big = "x" * 100_000
    results = await asyncio.gather(rig.insert(1), rig.insert(big), rig.insert(2), return_exceptions=True)
    failed = [isinstance(result, StoreBrokenError) for result in results]
    assert failed[1]
    assert rig.writer.trouble == "database or disk is full"
    kept = await rig.writer.submit(lambda tx: tx.rows("SELECT x FROM t", {}))
    answered = {value for value, bad in zip((1, 2), (failed[0], failed[2]), strict=True) if not bad}
    assert {row[0] for row in kept} == {"small"} | answered, "exactly what was answered is there"
    rig.connection.execute("PRAGMA max_page_count=1000000")
    await rig.insert(big)
    assert rig.writer.trouble is None


async def test_a_foreign_lock_is_waited_for_then_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "t.db")
    rig.connection.execute("PRAGMA busy_timeout=100")
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBrokenError):
            await rig.insert(1)
        foreign.execute("ROLLBACK")
    await rig.insert(1)
    await rig.writer.close()


async def test_a_closed_writer_finishes_what_waits(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "t.db")
    futures = [rig.insert(number) for number in range(20)]
    await rig.writer.close()
    assert await asyncio.gather(*futures) == [1] * 20
    with pytest.raises(StoreBrokenError):
        rig.insert(99)


async def test_a_second_broker_is_refused(tmp_path: Path) -> None:
    first, second = (SqliteStore(tmp_path / "b.db") for _ in range(2))
    await first.open(Heard())
    with pytest.raises(StartError, match="another broker"):
        await second.open(Heard())
    await first.close()
    await second.open(Heard())
    await second.close()


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "b.db")
    lock.acquire()
    with pytest.raises(StartError, match=str(os.getpid())):
        FileLock(tmp_path / "b.db").acquire()
    lock.release()


async def test_commits_are_durable_by_default_and_can_be_relaxed(tmp_path: Path) -> None:
    for durable, expected in ((True, 2), (False, 1)):
        with closing(connect_writer(tmp_path / "d.db", durable=durable)) as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (expected,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    migrate(tmp_path / "b.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'b.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrations_can_be_undone(tmp_path: Path) -> None:
    migrate(tmp_path / "b.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'b.db'}")
    with engine.connect() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        left = connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    assert left == [("alembic_version",)]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    migrate(tmp_path / "b.db")
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StartError, match="newer broker"):
        migrate(tmp_path / "b.db")


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.execute("CREATE TABLE songs (title)")
    with pytest.raises(StartError, match="another program"):
        migrate(tmp_path / "b.db")
    (tmp_path / "text.db").write_text("this is no database, but long enough to be looked at " * 20, encoding="ascii")
    with pytest.raises(StartError, match="cannot be used"):
        migrate(tmp_path / "text.db")


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(StartError, match="BROKER_DATABASE"):
        await SqliteStore(tmp_path / "file" / "b.db").open(Heard())


async def test_the_jobs_view_has_the_contracts_columns(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "b.db")
    await store.open(Heard())
    await submit(store, new_job("a", created_at=1.5))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        row = connection.execute(
            "SELECT id, code, interpreter, status, node_id, output, error, created_at, completed_at FROM jobs"
        ).fetchone()
        assert row == ("a", "print(1)", "python3", "pending", None, None, None, "1970-01-01T00:00:01.500Z", None)
        connection.execute("SELECT id, endpoint, capabilities, last_heartbeat, jobs_completed FROM nodes")
