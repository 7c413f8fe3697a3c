"""A client's submits while hundreds of agents come back to a broker that was killed, beside the same without them.

The broker is started again on its files; agents are back when each has its link and a beat. Three ways: with the pauses
that agents make, all in the same moment, and all in the same moment, the database being gone, so that all register.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure, below
from bench.load import SUBMIT, Sample, Wire, open_loop
from bench.servers import broker
from support.broker_process import ROOT, BrokerProcess

AGENTS = 500
RATE = 200
"""Submits a second, from the first moment at which the broker takes a connection."""
SECONDS = 4.0
LIMIT_MS = 250.0
PATIENCE = 60.0
WAYS = {
    "apart": "as they do",
    "together": "in the same moment",
    "strangers": "in the same moment, to a broker without its database",
}


async def measure_reconnect(directory: Path, rounds: int) -> list[Figure]:
    """Submit p99 after a restart without agents, and with each way of coming back."""
    alone = Figure(f"submit p99 at {RATE}/s after a restart, no agents", "ms")
    p99 = {
        way: Figure(f"the same while {AGENTS} agents come back {words}", "ms", "< 250", below(LIMIT_MS))
        for way, words in WAYS.items()
    }
    back = {way: Figure(f"until all {AGENTS} are back {words}", "s") for way, words in WAYS.items()}
    async with broker(directory / "alone") as server:
        for _ in range(rounds):
            alone.values.append((await _after_restart(server)).percentile(0.99))
    async with broker(directory / "fleet") as server, _fleet(server.port) as order:
        await order("begin")
        for _ in range(rounds):
            for way in WAYS:
                await order("apart" if way == "apart" else "together")
                sample = await _after_restart(server, lose_database=way == "strangers")
                answer = await order("back")
                if answer["registered"] != (AGENTS if way == "strangers" else 0):
                    raise RuntimeError(f"{answer['registered']} of {AGENTS} agents registered: {way}")
                p99[way].values.append(sample.percentile(0.99))
                back[way].values.append(answer["seconds"])
    return [alone, *(figure for way in WAYS for figure in (p99[way], back[way]))]


async def _after_restart(server: BrokerProcess, *, lose_database: bool = False) -> Sample:
    """Kill it, start it again, and submit from the moment at which it is ready."""
    await server.kill()
    if lose_database:
        for file in server.directory.glob(f"{server.database.name}*"):
            file.unlink()
    await server.start()
    wires = [Wire(server.port) for _ in range(32)]
    try:
        return await open_loop(wires, lambda: SUBMIT, rate=RATE, seconds=SECONDS)
    finally:
        for wire in wires:
            wire.close()


@asynccontextmanager
async def _fleet(port: int) -> AsyncIterator[Any]:
    """The agents, in a process of their own; what is given takes orders."""
    path = ":".join(str(ROOT / part) for part in ("", "tests", "services/node"))
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.fleet", str(port), str(AGENTS),
        env={"PYTHONPATH": path}, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert run.stdin is not None
    assert run.stdout is not None
    stdin, stdout = run.stdin, run.stdout

    async def order(word: str) -> dict[str, Any]:
        stdin.write(f"{word}\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer: dict[str, Any] = json.loads(await stdout.readline())
        return answer

    try:
        yield order
    finally:
        run.kill()
        await run.wait()
