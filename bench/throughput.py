"""Submits, full cycles, cycles in batches, and the latency of a submit while long polls hang; beside the baseline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, at_least, below
from bench.load import JOB_CODE, SUBMIT, BenchNode, Sample, Wire, closed_loops, open_loop
from bench.servers import baseline, broker
from support.broker_process import BrokerProcess
from support.http_connection import json_request

SUBMIT_CONNECTIONS = 32
CYCLE_CONNECTIONS = 16
BATCH_CONNECTIONS = 4
BATCH = 50
OFFERED_RATE = 1000
LONG_POLLS = 50
SECONDS = 4.0
BASELINE_SECONDS = 3.0

Load = Callable[[float], Awaitable[Sample]]
Kind = Callable[[int], AbstractAsyncContextManager[Load]]


@dataclass(frozen=True, slots=True)
class Measure:
    """A load and the server that it goes to."""

    server: BrokerProcess
    load: Load

    async def __call__(self, seconds: float) -> Sample:
        """Apply the load; the sample also tells what the server's process used."""
        before = self.server.cpu_seconds()
        sample = await self.load(seconds)
        sample.server_cpu_seconds = self.server.cpu_seconds() - before
        return sample


@asynccontextmanager
async def submits(port: int) -> AsyncIterator[Load]:
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
async def cycles(port: int) -> AsyncIterator[Load]:
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
async def batched_cycles(port: int) -> AsyncIterator[Load]:
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
async def paced_submits(port: int) -> AsyncIterator[Load]:
    """OFFERED_RATE submits a second, while LONG_POLLS claims of nodes that can run none of them hang."""
    capabilities = {"cpu_cores": 2, "memory_gb": 4, "gpu": False, "interpreters": ["ruby"]}
    pollers = [await BenchNode.registered(port, capabilities=capabilities) for _ in range(LONG_POLLS)]
    polls = [asyncio.create_task(_poll(node)) for node in pollers]
    wires = [Wire(port) for _ in range(64)]

    async def measure(seconds: float) -> Sample:
        return await open_loop(wires, lambda: SUBMIT, rate=OFFERED_RATE, seconds=2 * seconds)

    yield measure
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    _close([*wires, *(node.wire for node in pollers)])


async def _poll(node: BenchNode) -> None:
    while True:
        await node.wire.send(node.claim_request(wait=25))


BASELINE_KINDS: tuple[Kind, ...] = (submits, cycles)


def _close(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()


Reading = Callable[[Sample], float]


def _figures() -> dict[Kind, list[tuple[Figure, Reading]]]:
    """What is read from each kind of load."""

    def rate(sample: Sample) -> float:
        return sample.rate

    def p50(sample: Sample) -> float:
        return sample.percentile(0.5)

    def p99(sample: Sample) -> float:
        return sample.percentile(0.99)

    def cpu(sample: Sample) -> float:
        return sample.server_cpu_seconds / sample.count * 1000

    def empty(sample: Sample) -> float:
        return sample.empty_claims

    def is_zero(value: float) -> bool:
        return value == 0

    one, batch = f"full cycles at {CYCLE_CONNECTIONS} connections", f"full cycles in batches of {BATCH}"
    paced = f"at {OFFERED_RATE:,}/s offered, {LONG_POLLS} long polls"
    return {
        submits: [
            (Figure(f"submits at {SUBMIT_CONNECTIONS} connections", "/s", ">= 3,000", at_least(3000)), rate),
            (Figure(f"submit p99 at {SUBMIT_CONNECTIONS} connections", "ms"), p99),
        ],
        cycles: [
            (Figure(one, "/s", ">= 800 (aim 1,200)", at_least(800)), rate),
            (Figure(f"p99 of {one}", "ms"), p99),
            (Figure("processor time of the broker for a full cycle", "ms"), cpu),
            (Figure(f"empty claims while a job is pending, {one}", "", "0", is_zero), empty),
        ],
        batched_cycles: [
            (Figure(batch, "/s", ">= 5,000", at_least(5000)), rate),
            (Figure(f"empty claims while a job is pending, {batch}", "", "0", is_zero), empty),
        ],
        paced_submits: [
            (Figure(f"submit p50 {paced}", "ms"), p50),
            (Figure(f"submit p99 {paced}", "ms", "< 50", below(50)), p99),
        ],
    }


async def measure_throughput(directory: Path, rounds: int) -> list[Figure]:
    """All figures of this module: `rounds` interleaved rounds of broker and baseline, a server of its own for each."""
    figures = _figures()
    async with AsyncExitStack() as stack:

        async def on(make: Callable[[Path], BrokerProcess], kind: Kind) -> Measure:
            """The kind's measure on a server of its own."""
            server = await stack.enter_async_context(make(directory / f"{make.__name__}-{kind.__name__}"))
            return Measure(server, await stack.enter_async_context(kind(server.port)))

        ours = {kind: await on(broker, kind) for kind in figures}
        theirs = {kind: await on(baseline, kind) for kind in BASELINE_KINDS}
        for measure in (*ours.values(), *theirs.values()):
            await measure(0.5)  # warm up
        for _ in range(rounds):
            for kind, rows in figures.items():
                sample = await ours[kind](SECONDS)
                for figure, read in rows:
                    figure.values.append(read(sample))
                if kind in theirs:
                    sample = await theirs[kind](BASELINE_SECONDS)
                    for figure, read in rows:
                        figure.baseline.append(read(sample))
    return [figure for rows in figures.values() for figure, _ in rows]
