"""A million pending jobs, a thousand sessions; and what jobs that nobody can run now cost those that somebody can."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, below
from bench.load import JOB_CODE, BenchNode, Sample, Wire, closed_loops, fill, sleep_until
from bench.servers import broker
from support.http_connection import request_bytes

PENDING = 1_000_000
INTERPRETERS = ("python3", "bash", "node", "ruby", "perl")
MEMORY_MB = (128, 256, 512, 1024)
SESSIONS = 1000
CLAIM_RATE = 200
"""Claims a second, each followed by its completion: 2.5 jobs a second for each of 80 busy nodes."""
CLAIM_CONNECTIONS = 16
ASIDE = 100_000
RUNNABLE = 4000
SECONDS = 4.0


def job_of_twenty_classes(number: int) -> dict[str, Any]:
    """Jobs of 20 classes in turn: 5 interpreters by 4 sizes of memory."""
    return {
        "code": JOB_CODE,
        "interpreter": INTERPRETERS[number % 5],
        "memory_mb": MEMORY_MB[number // 5 % 4],
        "submitter": f"team-{number % 50}",
    }


async def measure_million(directory: Path, rounds: int) -> list[Figure]:
    """Latency of claims at CLAIM_RATE by random nodes, all of which can run all 20 classes, while all nodes beat."""
    p99 = Figure(f"claim p99, {PENDING:,} pending of 20 classes, {SESSIONS:,} sessions", "ms", "< 20", below(20))
    p50 = Figure("the same, p50", "ms")
    rate = Figure(f"claim + complete at {CLAIM_CONNECTIONS} connections, {PENDING:,} pending", "/s")
    memory = Figure(f"resident memory with {PENDING:,} pending and {SESSIONS:,} sessions", "MiB", "< 400", below(400))
    filling = Figure("submits in batches of 1,000", "jobs/s")
    restart = Figure(f"restart with {PENDING:,} pending", "s")
    async with broker(directory / "million") as server:
        filling.values.append(PENDING / await fill(server.port, PENDING, job_of_twenty_classes))
        nodes = await fleet(server.port)
        beats = asyncio.create_task(keep_beating(server.port, nodes))
        for _ in range(rounds):
            sample = await _paced_claims(nodes)
            p99.values.append(sample.percentile(0.99))
            p50.values.append(sample.percentile(0.5))
        rate.values = [(await _claim_and_complete(nodes[:CLAIM_CONNECTIONS], SECONDS)).rate for _ in range(rounds)]
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
        memory.values.append(server.rss_bytes() / 2**20)
        for node in nodes:
            node.wire.close()
        await server.kill()
        started = time.perf_counter()
        await server.start()
        restart.values.append(time.perf_counter() - started)
    return [filling, p99, p50, rate, memory, restart]


async def fleet(port: int) -> list[BenchNode]:
    """SESSIONS nodes that can run every class."""
    capabilities = {"cpu_cores": 8, "memory_gb": 4, "gpu": False, "interpreters": list(INTERPRETERS)}
    nodes = []
    for start in range(0, SESSIONS, 50):
        count = min(50, SESSIONS - start)
        nodes += await asyncio.gather(
            *(BenchNode.registered(port, slots=8, capabilities=capabilities) for _ in range(count))
        )
    return nodes


async def keep_beating(port: int, nodes: list[BenchNode]) -> None:
    """Each node beats every 20 s, a third of its lease, evenly spread."""
    wire = Wire(port)
    for node in itertools.cycle(nodes):
        due = time.perf_counter() + 20 / len(nodes)
        await wire.send(request_bytes("POST", "/heartbeat", f"{{{node.head}}}".encode()))
        await sleep_until(due)


async def _paced_claims(nodes: list[BenchNode]) -> Sample:
    """Claims at CLAIM_RATE, latency from when each was due; the completions that follow are not in it."""
    sample = Sample()
    busy: set[BenchNode] = set()
    chance = random.Random(7)  # noqa: S311  # picks nodes, guards nothing
    tasks = []
    started = time.perf_counter()

    async def one(node: BenchNode, due: float) -> None:
        jobs = await node.claim()
        sample.latencies.append(time.perf_counter() - due)
        sample.empty_claims += not jobs
        await node.complete(jobs[0])
        busy.discard(node)

    for number in range(int(CLAIM_RATE * SECONDS)):
        due = started + number / CLAIM_RATE
        await sleep_until(due)
        node = chance.choice(nodes)
        while node in busy:
            node = chance.choice(nodes)
        busy.add(node)
        tasks.append(asyncio.create_task(one(node, due)))
    await asyncio.gather(*tasks)
    return sample


async def _claim_and_complete(nodes: list[BenchNode], seconds: float) -> Sample:
    empty = 0

    async def step(number: int) -> int:
        nonlocal empty
        jobs = await nodes[number].claim()
        if not jobs:
            empty += 1
            return 0
        await nodes[number].complete(jobs[0])
        return 1

    sample = await closed_loops(step, loops=len(nodes), seconds=seconds)
    sample.empty_claims = empty
    return sample


async def measure_aside(directory: Path, rounds: int) -> list[Figure]:
    """Two brokers in turn, one of which also holds jobs for tomorrow and jobs that no node can run."""
    without = Figure("claim + complete, nothing else pending", "/s")
    future = Figure(f"change by {ASIDE:,} future jobs", "%", "< 10 slower", lambda value: value > -10)
    unrunnable = Figure(f"change by {ASIDE:,} jobs that no node can run", "%", "< 10 slower", lambda value: value > -10)
    kinds: dict[str, dict[str, Any]] = {"future": {"not_before": 86400.0}, "unrunnable": {"interpreter": "perl"}}
    async with (
        broker(directory / "plain") as plain,
        broker(directory / "future") as with_future,
        broker(directory / "unrunnable") as with_unrunnable,
    ):
        servers = {"plain": plain, "future": with_future, "unrunnable": with_unrunnable}
        for kind, fields in kinds.items():
            extra = {"code": JOB_CODE} | fields
            await fill(servers[kind].port, ASIDE, lambda _, extra=extra: extra)  # type: ignore[misc]
        nodes = {
            kind: [await BenchNode.registered(server.port) for _ in range(CLAIM_CONNECTIONS)]
            for kind, server in servers.items()
        }
        for turn in range(rounds + 1):  # the first is the warm-up
            rates = {}
            for kind, server in servers.items():
                await fill(server.port, RUNNABLE, lambda _: {"code": JOB_CODE})
                rates[kind] = await _drain(nodes[kind])
            if turn:
                without.values.append(rates["plain"])
                future.values.append((rates["future"] / rates["plain"] - 1) * 100)
                unrunnable.values.append((rates["unrunnable"] / rates["plain"] - 1) * 100)
        for fleet in nodes.values():
            for node in fleet:
                node.wire.close()
    return [without, future, unrunnable]


async def _drain(nodes: list[BenchNode]) -> float:
    """Claim and complete until nothing is left; jobs a second. A claim is empty only when all is handed out."""
    handed_out = 0
    started = time.perf_counter()

    async def loop(node: BenchNode) -> None:
        nonlocal handed_out
        while handed_out < RUNNABLE:
            handed_out += 1
            (job,) = await node.claim()
            await node.complete(job)

    await asyncio.gather(*(loop(node) for node in nodes))
    return RUNNABLE / (time.perf_counter() - started)
