"""Shapes of work that cost more than they look: many classes of jobs, many kinds of nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.load import JOB_CODE, SUBMIT, BenchNode, Sample, Wire, closed_loops, fill
from bench.servers import broker
from support.broker_process import BrokerProcess

CLASSES = 200
JOBS_PER_CLASS = 60
NODES = 1000
CLAIMERS = 16
SUBMITTERS = 32
SECONDS = 3.0


async def measure_shapes(directory: Path, rounds: int) -> list[Figure]:
    """Two pairs of brokers in turn: one class against many, no waiting node against many of different kinds."""
    one = Figure("claim + complete, one pending class", "/s")
    many = Figure(f"claim + complete, {CLASSES} pending classes that each node can run", "/s")
    alone = Figure("submits, no node waits", "/s")
    watched = Figure(f"submits, {NODES:,} nodes with a label of their own wait for other work", "/s")
    async with (
        broker(directory / "one") as one_class,
        broker(directory / "many") as many_classes,
        broker(directory / "alone") as no_nodes,
        broker(directory / "watched") as many_nodes,
    ):
        claimers = {
            server.port: [await BenchNode.registered(server.port) for _ in range(CLAIMERS)]
            for server in (one_class, many_classes)
        }
        polls = await _waiting_nodes(many_nodes.port)
        for _ in range(rounds):
            for figure, server, classes in ((one, one_class, 1), (many, many_classes, CLASSES)):
                await fill(server.port, CLASSES * JOBS_PER_CLASS, lambda n, classes=classes: _job(n % classes))  # type: ignore[misc]
                figure.values.append((await _claims(claimers[server.port])).rate)
            for figure, server in ((alone, no_nodes), (watched, many_nodes)):
                figure.values.append((await _submits(server)).rate)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    return [one, many, alone, watched]


def _job(number: int) -> dict[str, Any]:
    """Each number is a class of its own."""
    return {
        "code": JOB_CODE,
        "memory_mb": 64 * (1 + number % 50),
        "requires": {"min_cpu_cores": 0.5 * (1 + number // 50)},
    }


async def _claims(nodes: list[BenchNode]) -> Sample:
    async def step(number: int) -> int:
        jobs = await nodes[number].claim()
        if jobs:
            await nodes[number].complete(jobs[0])
        return len(jobs)

    return await closed_loops(step, loops=len(nodes), seconds=SECONDS)


async def _submits(server: BrokerProcess) -> Sample:
    wires = [Wire(server.port) for _ in range(SUBMITTERS)]

    async def step(number: int) -> int:
        await wires[number].send(SUBMIT)
        return 1

    sample = await closed_loops(step, loops=SUBMITTERS, seconds=SECONDS)
    for wire in wires:
        wire.close()
    return sample


async def _waiting_nodes(port: int) -> list[asyncio.Task[None]]:
    """Nodes that all differ, and none of which can run what is submitted."""
    polls = []
    for number in range(NODES):
        capabilities = {"cpu_cores": 2, "memory_gb": 4, "interpreters": ["ruby"], "labels": {"host": f"h{number}"}}
        node = await BenchNode.registered(port, capabilities=capabilities)
        polls.append(asyncio.create_task(_poll(node)))
    return polls


async def _poll(node: BenchNode) -> None:
    while True:
        await node.wire.send(node.claim_request(wait=25))
