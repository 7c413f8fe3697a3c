"""A real agent for as long as it takes: many jobs, an outage, and everything that can stand between it and the broker.

CHAOS_MEDDLING_SECONDS (4) makes the last longer by hand, CHAOS_MEDDLING_SEED repeats a run's choices.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaos.actors import Client
from chaos.meddler import Call, Meddler
from chaos.rig import QUICK, FaultyBroker
from support.agent_process import AgentProcess, files_in, held_by
from support.auditor import Auditor
from support.history import History
from support.http_connection import request_bytes
from support.node_log import NodeLog
from support.waiting import eventually
from unit.agent.fake_sandrun import LIVE, FakeSandrun

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(0)]
SECONDS = float(os.environ.get("CHAOS_MEDDLING_SECONDS", "4"))
SEED = int(os.environ.get("CHAOS_MEDDLING_SEED", "0")) or random.randrange(1, 1_000_000)


class Between:
    """Broker, proxy, agent, sandrun and a client that asks the broker itself."""

    def __init__(self, broker: FaultyBroker, proxy: Meddler, agent: AgentProcess, client: Client) -> None:
        self.broker = broker
        self.proxy = proxy
        self.agent = agent
        self.client = client

    async def running(self, job: str) -> None:
        """Until it runs."""

        async def runs() -> bool:
            return bool((await self.client.status(job))["status"] == "running")

        await eventually(runs, seconds=90, what=f"{job} runs")

    async def empty_spool(self) -> None:
        """Until no result waits on the disk."""

        async def empty() -> bool:
            return not self.agent.spool

        await eventually(empty, seconds=90, what=f"nothing waits in {self.agent.state}")


@pytest.fixture
def sandrun() -> Iterator[FakeSandrun]:
    fake = FakeSandrun(slots=4)
    yield fake
    fake.stop()


@asynccontextmanager
async def between(folder: Path, sandrun: FakeSandrun, *, seed: int = 0, **broker: str) -> AsyncIterator[Between]:
    """All of them; audited at the end."""
    history = History()
    process = FaultyBroker(folder / "broker", QUICK | broker)
    async with process, Meddler(process.port, seed=seed) as proxy:
        with AgentProcess(folder, f"http://127.0.0.1:{proxy.port}", sandrun.url) as agent:
            client = Client("client", process.port, history)
            try:
                yield Between(process, proxy, agent, client)
                assert await asyncio.to_thread(agent.terminate) == 0, agent.said[-4000:]
            except BaseException:
                print(agent.said[-4000:], process.log_text()[-2000:], sep="\n---\n")
                raise
            finally:
                client.close()
    assert not agent.spool
    assert "Traceback" not in agent.said
    Auditor(history, process.database, logs=[NodeLog(agent.said)]).check()


async def test_many_jobs_leave_nothing_behind(tmp_path: Path, sandrun: FakeSandrun) -> None:
    """Threads, descriptors and files of agent and broker: one that is left by every tenth job would be seen."""
    async with between(tmp_path, sandrun) as b:

        async def run(count: int) -> None:
            codes = ["echo ok", "exit 3", "verdict memory", "err no", "echo " + "x" * 9000]
            jobs = await b.client.submit_many([codes[n % len(codes)] for n in range(count)], timeout=20)
            for job in jobs[:2]:
                await b.client.cancel(job)
            for job in jobs:
                await b.client.result(job)
            await b.empty_spool()

        await run(40)  # until each thread has the connections that it keeps
        before = [held_by(pid) for pid in (b.agent.pid, b.broker.pid)]
        files = files_in(b.agent.state)
        await run(200)
        for then, now in zip(before, [held_by(pid) for pid in (b.agent.pid, b.broker.pid)], strict=True):
            assert now.threads <= then.threads + 6, (then, now)
            assert now.descriptors <= then.descriptors + 12, (then, now)
        assert files_in(b.agent.state) == files


def calls_of(calls: list[Call], *paths: str) -> list[float]:
    return [call.at for call in calls if call.path in paths]


async def upload(client: Client, name: str, content: str) -> str:
    """A job that comes as a file, as a sandrun client sends it; its id."""
    parts = {f'files"; filename="{name}': content, "manifest": f'{{"entrypoint": "{name}", "interpreter": "bash"}}'}
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in parts.items()]
    body = "\r\n".join([*lines, "--b--\r\n"]).encode()
    answer = await client._exchange(
        request_bytes("POST", "/submit", body, content="multipart/form-data; boundary=b"), 60
    )
    assert answer.status == 200, answer
    return str(answer.json()["job_id"])


async def test_a_whole_job_over_ipv6_addresses(tmp_path: Path) -> None:
    """Register, claim, files both ways, live output. By IPv4's addresses in IPv6: many a container has no ::1."""
    sandrun = FakeSandrun(LIVE)
    near = "http://[::ffff:127.0.0.1]"
    async with FaultyBroker(tmp_path / "broker", QUICK) as broker:
        with AgentProcess(tmp_path, f"{near}:{broker.port}", f"{near}:{sandrun.port}") as agent:
            client = Client("client", broker.port, History())
            job = await upload(client, "main.sh", "echo shown\nhang\nfile out.txt left")

            async def shown() -> bool:
                snapshot = await client.insist("logs", "GET", f"/logs/{job}?wait=1")
                return bool(snapshot.body["stdout"] == "shown\n" and snapshot.body["status"] == "running")

            await eventually(shown, what="the output while the job runs")
            sandrun.let_end()
            result = await client.result(job)
            assert (result["status"], [file["path"] for file in result["artifacts"]]) == ("completed", ["out.txt"])
            (node,) = (await client.insist("nodes", "GET", "/nodes")).body["nodes"]
            assert node["endpoint"] == f"{near}:{sandrun.port}"
            assert await asyncio.to_thread(agent.terminate) == 0
            client.close()
    sandrun.stop()
    assert sandrun.forgotten == ["job_1"], "its files are with the broker"


async def test_an_outage_brings_few_calls_no_burst_and_each_result_once(tmp_path: Path, sandrun: FakeSandrun) -> None:
    """The broker is gone and something else answers 503 in its place, while jobs end."""
    paths = (("/claim",), ("/heartbeat",), ("/link",), ("/complete", "/complete/batch"))
    async with between(tmp_path, sandrun, NODE_TIMEOUT="60") as b:
        jobs = [await b.client.submit(f"echo {n}\nhang") for n in range(4)]
        for job in jobs:
            await b.running(job)
        await b.broker.kill()
        b.proxy.mode = "unavailable"
        start, began = len(b.proxy.calls), time.monotonic()
        sandrun.let_end()

        async def tried() -> bool:
            return time.monotonic() > began + 3 and all(
                len(calls_of(b.proxy.calls[start:], *each)) > 6 for each in paths
            )

        await eventually(tried, seconds=90, what="each of the agent's calls was tried often")
        during, seconds = b.proxy.calls[start:], time.monotonic() - began
        assert len(b.agent.spool) == 4
        await b.broker.start()
        b.proxy.mode = "pass"
        back = len(b.proxy.calls)
        results = [await b.client.result(job) for job in jobs]
        await b.empty_spool()
        after = Counter(call.path for call in b.proxy.calls[back:])
    assert [result["output"] for result in results] == [f"{n}\n" for n in range(4)]
    # With pauses of up to half a second (a second for the link), drawn between half and whole: 4 calls a second each.
    for each in paths:
        moments = calls_of(during, *each)
        assert len(moments) <= 8 * seconds, (each, len(moments))
        pauses = {round(later - earlier, 2) for earlier, later in pairwise(moments[2:])}
        assert len(pauses) > 2, f"no jitter: {pauses}"
    assert after["/complete"] + after["/complete/batch"] <= 4, after
    assert max(after.values()) <= 8, after
    delivered = Counter((line["job"], line["answer"]) for line in answers(b.agent))
    assert delivered == dict.fromkeys(((job, "ok") for job in jobs), 1)


def answers(agent: AgentProcess) -> list[dict[str, Any]]:
    return [line for line in NodeLog(agent.said).lines if line.get("event") == "result_delivered"]


async def test_whatever_is_done_to_calls_nothing_is_lost(tmp_path: Path, sandrun: FakeSandrun) -> None:
    """Every job ends once, with its own output, while a third of all calls goes wrong in one of thirteen ways."""
    print(f"CHAOS_MEDDLING_SEED={SEED}")
    chance = random.Random(SEED)
    settings = {"NODE_TIMEOUT": "5", "MAX_RETRIES": "100"}
    async with between(tmp_path, sandrun, seed=SEED, **settings) as b:
        b.proxy.mode = "meddle"
        until = time.monotonic() + SECONDS
        expected: dict[str, str] = {}
        while time.monotonic() < until or b.proxy.meddled < 20:
            assert time.monotonic() < until + 60, b.proxy.done
            number = len(expected)
            code = f"echo {number}" + chance.choice(["", "", f"\nsleep {chance.uniform(0, 1):.2f}", "\nexit 3"])
            expected[await b.client.submit(code, timeout=20)] = f"{number}\n"
            if number > 40:  # no more than the node can do: the end is waited for
                await b.client.result(list(expected)[number - 40], seconds=120)
        assert b.agent.is_running
        b.proxy.mode = "pass"
        for job, output in expected.items():
            assert (await b.client.result(job, seconds=120))["output"] == output
        await b.empty_spool()
