"""Submits, full cycles, cycles in batches, and the latency of a submit while long polls hang; beside the baseline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.figures import Figure, at_least, below
from bench.load import JOB_CODE, SUBMIT, BenchNode, Sample, Wire, closed_loops, open_loop
from bench.servers import baseline, broker
from support.http_connection import json_request

SUBMIT_CONNECTIONS = 32
CYCLE_CONNECTIONS = 16
BATCH_CONNECTIONS = 4
BATCH = 50
OFFERED_RATE = 1000
LONG_POLLS = 50
SECONDS = 4.0
BASELINE_SECONDS = 3.0

Measure = Callable[[float], Awaitable[Sample]]


@asynccontextmanager
async def submits(port: int) -> AsyncIterator[Measure]:
    """One job a request, SUBMIT_CONNECTIONS connections."""
    wires = [Wire(port) for _ in range(SUBMIT_CONNECTIONS)]

    async def step(number: int) -> int:
        await wires[number].send(SUBMIT)
        return 1

    async def measure(seconds: float) -> Sample:
        return await closed_loops(step, loops=len(wires), seconds=seconds)

    yield measure
    _close(wires)


@asynccontextmanager
async def cycles(port: int) -> AsyncIterator[Measure]:
    """submit -> claim -> complete -> results, one job at a time on each connection.

    Each connection claims only after it has submitted, so at every moment there are at least as many pending jobs as
    claims in flight: an empty answer is always wrong. It is counted, and asked again.
    """
    nodes = [await BenchNode.registered(port) for _ in range(CYCLE_CONNECTIONS)]
    empty = 0

    async def step(number: int) -> int:
        nonlocal empty
        node = nodes[number]
        await node.wire.send(SUBMIT)
        while not (jobs := await node.claim()):
            empty += 1
        await node.complete(jobs[0])
        await node.wire.send(json_request("GET", f"/results/{jobs[0]['id']}"))
        return 1

    async def measure(seconds: float) -> Sample:
        nonlocal empty
        empty = 0
        sample = await closed_loops(step, loops=len(nodes), seconds=seconds)
        sample.empty_claims = empty
        return sample

    yield measure
    _close([node.wire for node in nodes])


@asynccontextmanager
async def batched_cycles(port: int) -> AsyncIterator[Measure]:
    """The same by BATCH jobs a request: /submit/batch, /claim with max_jobs, /complete/batch, /results/batch."""
    nodes = [await BenchNode.registered(port, slots=BATCH) for _ in range(BATCH_CONNECTIONS)]
    submit = json_request("POST", "/submit/batch", {"jobs": [{"code": JOB_CODE}] * BATCH})
    empty = 0

    async def step(number: int) -> int:
        nonlocal empty
        node = nodes[number]
        await node.wire.send(submit)
        left = BATCH
        while left:
            jobs = await node.claim(left)
            empty += not jobs
            if jobs:
                left -= len(jobs)
                await node.complete_all(jobs)
                ids = [job["id"] for job in jobs]
                await node.wire.send(json_request("POST", "/results/batch", {"job_ids": ids}))
        return BATCH

    async def measure(seconds: float) -> Sample:
        nonlocal empty
        empty = 0
        sample = await closed_loops(step, loops=len(nodes), seconds=seconds)
        sample.empty_claims = empty
        return sample

    yield measure
    _close([node.wire for node in nodes])


@asynccontextmanager
async def paced_submits(port: int) -> AsyncIterator[Measure]:
    """OFFERED_RATE submits a second, while LONG_POLLS claims of nodes that can run none of them hang."""
    capabilities = {"cpu_cores": 2, "memory_gb": 4, "gpu": False, "interpreters": ["ruby"]}
    pollers = [await BenchNode.registered(port, capabilities=capabilities) for _ in range(LONG_POLLS)]
    polls = [asyncio.create_task(_poll(node)) for node in pollers]
    wires = [Wire(port) for _ in range(64)]

    async def measure(seconds: float) -> Sample:
        return await open_loop(wires, lambda: SUBMIT, rate=OFFERED_RATE, seconds=seconds)

    yield measure
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    _close([*wires, *(node.wire for node in pollers)])


async def _poll(node: BenchNode) -> None:
    while True:
        await node.wire.send(node.claim_request(wait=25))


def _close(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()


async def measure_throughput(directory: Path, rounds: int) -> list[Figure]:
    """All figures of this module: `rounds` interleaved rounds of broker and baseline, a server of its own for each."""
    submit_rate = Figure(f"submits at {SUBMIT_CONNECTIONS} connections", "/s", ">= 3,000", at_least(3000))
    submit_p99 = Figure(f"submit p99 at {SUBMIT_CONNECTIONS} connections", "ms")
    cycle_rate = Figure(f"full cycles at {CYCLE_CONNECTIONS} connections", "/s", ">= 800 (aim 1,200)", at_least(800))
    cycle_p99 = Figure(f"full cycle p99 at {CYCLE_CONNECTIONS} connections", "ms")
    batch_rate = Figure(f"full cycles in batches of {BATCH}", "/s", ">= 5,000", at_least(5000))
    empty = Figure("empty claims while a runnable job is pending, in all cycles", "", "0", lambda value: value == 0)
    paced_p99 = Figure(f"submit p99 at {OFFERED_RATE:,}/s offered, {LONG_POLLS} long polls", "ms", "< 50", below(50))
    paced_p50 = Figure(f"submit p50 at {OFFERED_RATE:,}/s offered, {LONG_POLLS} long polls", "ms")
    async with AsyncExitStack() as stack:

        async def on_broker(name: str, kind: Callable[[int], object]) -> Measure:
            server = await stack.enter_async_context(broker(directory / name))
            return await stack.enter_async_context(kind(server.port))  # type: ignore[arg-type]

        async def on_baseline(name: str, kind: Callable[[int], object]) -> Measure:
            server = await stack.enter_async_context(baseline(directory / name))
            return await stack.enter_async_context(kind(server.port))  # type: ignore[arg-type]

        ours = {kind: await on_broker(kind.__name__, kind) for kind in (submits, cycles, batched_cycles, paced_submits)}
        theirs = {kind: await on_baseline(f"flask-{kind.__name__}", kind) for kind in (submits, cycles)}
        for measure in (*ours.values(), *theirs.values()):
            await measure(0.5)  # warm up
        for _ in range(rounds):
            sample = await ours[submits](SECONDS)
            submit_rate.values.append(sample.rate)
            submit_p99.values.append(sample.percentile(0.99))
            sample = await theirs[submits](BASELINE_SECONDS)
            submit_rate.baseline.append(sample.rate)
            submit_p99.baseline.append(sample.percentile(0.99))
            sample = await ours[cycles](SECONDS)
            cycle_rate.values.append(sample.rate)
            cycle_p99.values.append(sample.percentile(0.99))
            empty.values.append(sample.empty_claims)
            sample = await theirs[cycles](BASELINE_SECONDS)
            cycle_rate.baseline.append(sample.rate)
            cycle_p99.baseline.append(sample.percentile(0.99))
            empty.baseline.append(sample.empty_claims)
            sample = await ours[batched_cycles](SECONDS)
            batch_rate.values.append(sample.rate)
            empty.values[-1] += sample.empty_claims
            sample = await ours[paced_submits](2 * SECONDS)
            paced_p99.values.append(sample.percentile(0.99))
            paced_p50.values.append(sample.percentile(0.5))
    return [submit_rate, submit_p99, cycle_rate, cycle_p99, batch_rate, empty, paced_p50, paced_p99]
