"""Results are deleted after RESULT_TTL (scenario 24): whole or gone, and nothing comes back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from chaos.rig import Scenario
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_a_result_is_whole_until_it_is_gone(scenario: Make) -> None:
    async with scenario(deletes=True, RESULT_TTL="3") as s:
        client, node = s.client(), await s.registered(slots=16)
        jobs = await client.submit_many([f"ok {n}" for n in range(16)])
        runs = {run.job_id: run for run in await node.claim(max_jobs=16)}
        await asyncio.gather(*(node.complete(run) for run in runs.values()))
        seen = await asyncio.gather(*(_read_until_gone(s, job) for job in jobs))
        for job, bodies in zip(jobs, seen, strict=True):
            assert bodies, "read at least once before it was deleted"
            assert len({(body["status"], body["output"], body["exit_code"]) for body in bodies}) == 1
            assert f"|{job}|" in bodies[0]["output"]
        for run in runs.values():
            late = await node.complete(run, once=True)
            assert late.status in (200, 404, 409, 410), (late.status, late.body)
            gone = await client.call("results", "GET", f"/results/{run.job_id}")
            assert gone.status == 410, "a late copy of the result brings nothing back"
            assert gone.body["error"]
        await eventually(lambda: _nothing_kept(s), seconds=60, what="outputs are deleted with the jobs")


async def _nothing_kept(s: Scenario) -> bool:
    return s.audit().outputs == {}


async def _read_until_gone(s: Scenario, job: str) -> list[dict[str, Any]]:
    """Every answer before the 410."""
    reader = s.client(f"reader-{job[-4:]}")
    bodies: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while True:
            call = await reader.call("results", "GET", f"/results/{job}")
            if call.status == 410:
                return bodies
            assert call.status == 200, (call.status, call.body)
            bodies.append(call.body)
            await asyncio.sleep(0.05)  # the reader's interval


async def test_deleting_many_results_does_not_stop_the_queue(scenario: Make) -> None:
    async with scenario(deletes=True, RESULT_TTL="2") as s:
        client, node = s.client(), await s.registered(slots=64)
        for _ in range(4):
            await client.submit_many(["ok"] * 1000)
        loop = asyncio.get_running_loop()
        while runs := await node.claim(max_jobs=64):
            body = node.identity() | {"completions": [node.outcome(run) for run in runs]}
            assert (await node.call("complete_batch", "POST", "/complete/batch", body)).ok
            for run in runs:
                node.held.pop(run.ref)
        slowest = 0.0
        deadline = loop.time() + 90
        while _python_jobs(s):  # they are deleted meanwhile
            assert loop.time() < deadline, f"{_python_jobs(s)} are not deleted"
            started = loop.time()
            await client.submit("ok", interpreter="bash")
            slowest = max(slowest, loop.time() - started)
            await asyncio.sleep(0.02)  # the submitter's interval
        assert slowest < 5.0


def _python_jobs(s: Scenario) -> int:
    """How many of them the database still has."""
    with closing(sqlite3.connect(s.broker.database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM job_states WHERE interpreter = 'python3'").fetchone()
        return int(count)
