"""A broker that comes back with less than it had: an older copy of its database put back by hand, or none at all.

Nodes go on by themselves, and what they did for the world that is gone does not count.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from chaos.actors import Client
from chaos.node import SimNode
from chaos.rig import QUICK
from support.backups import backup, restored
from support.broker_process import ROOT, BrokerProcess
from support.history import History
from support.waiting import eventually
from unit.agent.fake_sandrun import FakeSandrun

pytestmark = pytest.mark.anyio
StartNode = Callable[[int], "subprocess.Popen[bytes]"]


@pytest.fixture
def sandrun() -> Iterator[FakeSandrun]:
    fake = FakeSandrun()
    yield fake
    fake.stop()


@pytest.fixture
def start_node(tmp_path: Path, sandrun: FakeSandrun) -> Iterator[StartNode]:
    """Starts the real agent as a process, for a broker on a port."""
    started: list[subprocess.Popen[bytes]] = []
    program = ROOT / "services" / "node"

    def start(port: int) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(program),
            "NODE_LIVE_FILE": str(tmp_path / "live.json"),
            "NODE_STATE_DIR": str(tmp_path / "state"),
        }
        urls = ("--broker", f"http://127.0.0.1:{port}", "--sandrun", sandrun.url, "--poll-interval", "0.3")
        with (tmp_path / "node.log").open("ab") as log:
            command = [sys.executable, str(program / "node.py"), *urls]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(60)


@asynccontextmanager
async def client_of(broker: BrokerProcess) -> AsyncIterator[Client]:
    client = Client("client", broker.port, History())
    try:
        yield client
    finally:
        client.close()


def copy_of(database: Path, copy: Path) -> None:
    """What somebody keeps who copies the file."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def replace(database: Path, copy: Path | None) -> None:
    """Put a copy in the place of a stopped broker's database, or nothing."""
    for name in (database.name, f"{database.name}-wal", f"{database.name}-shm"):
        database.with_name(name).unlink(missing_ok=True)
    if copy is not None:
        shutil.copy(copy, database)


async def running(client: Client, job: str) -> None:
    async def runs() -> bool:
        return bool((await client.status(job))["status"] == "running")

    await eventually(runs, seconds=90, what=f"{job} runs")


async def test_a_result_for_an_attempt_that_the_copy_does_not_know_never_counts_for_its_next(tmp_path: Path) -> None:
    """The worst case: the same session claims the same job again, while it still has the earlier run in its hands."""
    async with BrokerProcess(tmp_path / "broker", QUICK) as broker, client_of(broker) as client:
        node = SimNode("worker", broker.port, History())
        await node.register()
        job = await client.submit("ok")
        copy_of(broker.database, tmp_path / "copy.db")
        (before,) = await node.claim()
        await broker.kill()
        replace(broker.database, tmp_path / "copy.db")
        await broker.start()
        (after,) = await node.claim(wait=20)
        assert (after.job_id, after.code) == (job, before.code)
        late = await node.call("complete", "POST", "/complete", node.identity() | node.outcome(before))
        assert (late.status, late.body["reason"]) == (409, "stale_lease"), "it was given out before the copy's time"
        assert (await node.complete(after)).ok
        assert (await client.result(job))["status"] == "completed"
        node.close()


async def test_a_node_goes_on_with_a_broker_that_lost_its_database(
    tmp_path: Path, sandrun: FakeSandrun, start_node: StartNode
) -> None:
    async with BrokerProcess(tmp_path / "broker", QUICK) as broker, client_of(broker) as client:
        node = start_node(broker.port)
        old = await client.submit("hang")
        await running(client, old)
        await broker.kill()
        replace(broker.database, None)
        await broker.start()
        new = await client.submit("echo new")
        assert (await client.result(new, seconds=120))["output"].strip() == "new"
        assert len(sandrun.cancelled) == 1, "the run of the world that is gone was ended"
        assert (await client.insist("status", "GET", f"/status/{old}")).status == 404
        assert node.poll() is None


@pytest.mark.parametrize("way", ["by hand", "restore"])
async def test_a_node_goes_on_with_a_broker_that_came_back_from_an_older_copy(
    tmp_path: Path, start_node: StartNode, way: str
) -> None:
    async with BrokerProcess(tmp_path / "broker", QUICK | {"MAX_RETRIES": "0"}) as broker, client_of(broker) as client:
        start_node(broker.port)
        held, done = await client.submit("sleep 3\necho held"), await client.submit("sleep 0.1\necho done")
        await running(client, held)
        if way == "restore":
            tar = await backup(broker)
        else:
            copy_of(broker.database, tmp_path / "copy.db")
        await client.result(done)
        newest = await client.submit("echo newest")
        await client.result(newest)
        await broker.kill()
        client.close()
        if way == "restore":
            back = await restored(tmp_path / "back", tar, port=broker.port, environment=QUICK | {"MAX_RETRIES": "0"})
        else:
            replace(broker.database, tmp_path / "copy.db")
            back = BrokerProcess(broker.directory, broker.environment, port=broker.port)
        async with back:
            results = await asyncio.gather(*(client.result(job, seconds=120) for job in (held, done)))
            assert [(r["status"], r["output"].strip()) for r in results] == [
                ("completed", "held"),
                ("completed", "done"),
            ]
            assert (await client.insist("status", "GET", f"/status/{newest}")).status == 404
