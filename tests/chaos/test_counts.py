"""What /metrics counts is what happened: after nodes were killed, jobs cancelled, retried and given up, its counters
equal the rows of the database, which the auditor has judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from chaos.actors import Client
from chaos.rig import Scenario
from support.scrape import scrape
from support.waiting import eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def run_elsewhere(client: Client, jobs: list[str], dead: str = "") -> bool:
    """Whether all these jobs run, and none on the dead node."""
    said = [await client.status(job) for job in jobs]
    return all(job["status"] == "running" and job["node_id"] != dead for job in said)


async def test_counters_equal_what_happened(scenario: Make) -> None:
    async with scenario(NODE_TIMEOUT="60", MAX_RETRIES="1") as s:
        client = s.client()
        victims = [s.node(f"victim-{n}", slots=2) for n in range(2)]
        for victim in victims:
            s.work(victim, link=True)
        hanging = await client.submit_many(["hang"] * 3)
        await eventually(lambda: run_elsewhere(client, hanging), seconds=90, what="all hang")
        jobs = await client.submit_many(
            [f"ok {n}" for n in range(60)] + ["exit 3"] * 5 + ["platform"] * 2 + ["hang"] * 2
        )
        given_up = await client.submit("ok", requires={"gpu": True}, deadline=0.2)
        retried = await client.submit("exit 1", retry_on=["exit"])
        await s.kill_node(victims[0])
        s.work(s.node("heir", slots=4), link=True)
        hanging += jobs[-2:]
        dead = victims[0].node_id
        await eventually(lambda: run_elsewhere(client, hanging, dead), seconds=90, what="all hang elsewhere")
        for job in hanging:
            await client.cancel(job)
        ended = [await client.result(job) for job in (*hanging, *jobs[:-2], retried, given_up)]
        seen = await scrape(s.broker.port)
    assert s.records is not None
    rows = s.records.jobs.values()
    assert Counter(job["failure"] or "none" for job in ended) == seen.by("sandrun_broker_jobs_ended_total", "failure")
    assert Counter(row["failure"] or "none" for row in rows) == seen.by("sandrun_broker_jobs_ended_total", "failure")
    attempts = Counter(row["outcome"] for row in s.records.attempts.values())
    assert attempts == seen.by("sandrun_broker_attempts_ended_total", "outcome")
    assert attempts["node_lost"] >= 1, "a node was killed with a job in its hands"
    assert seen("sandrun_broker_attempts_granted_total") == len(s.records.attempts)
    assert seen("sandrun_broker_jobs_submitted_total") == len(rows) == len(ended)
    assert seen("sandrun_broker_job_total_seconds_count") == len(ended)
    assert seen.by("sandrun_broker_jobs", "status") == Counter(row["status"] for row in rows)
    assert seen("sandrun_broker_leases_held") == 0
