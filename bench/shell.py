"""Other clients' submits while 200 slow clients and a flood of oversized bodies keep the broker busy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import Figure, below
from bench.load import SUBMIT, Wire, open_loop
from bench.servers import broker
from support.broker_process import ROOT

SLOW_CLIENTS = 200
FLOODS = 4
RATE = 100
"""Submits a second: what is left of two cores that the attackers use as well."""
SECONDS = 5.0
LIMIT_MS = 100.0


async def measure_shell(directory: Path, rounds: int) -> list[Figure]:
    """The p99 of submits, alone and under each attack."""
    quiet = Figure(f"submit p99 at {RATE}/s, nobody else", "ms")
    slow = Figure(f"the same beside {SLOW_CLIENTS} clients that send a byte a second", "ms", "< 100", below(LIMIT_MS))
    flood = Figure(f"the same beside {FLOODS} floods of oversized bodies too", "ms", "< 100", below(LIMIT_MS))
    async with broker(directory) as server:
        for _ in range(rounds):
            quiet.values.append(await _p99(server.port))
            async with attackers(server.port, floods=0):
                slow.values.append(await _p99(server.port))
            async with attackers(server.port, floods=FLOODS):
                flood.values.append(await _p99(server.port))
    return [quiet, slow, flood]


@asynccontextmanager
async def attackers(port: int, floods: int) -> AsyncIterator[None]:
    """The attack, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "support.attackers",
        str(port),
        "--slow",
        str(SLOW_CLIENTS),
        "--floods",
        str(floods),
    ]
    run = await asyncio.create_subprocess_exec(
        *command, env={"PYTHONPATH": str(ROOT / "tests")}, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert run.stdout is not None
        async with asyncio.timeout(10):
            await run.stdout.readline()
        yield
    finally:
        run.kill()
        await run.wait()


async def _p99(port: int) -> float:
    wires = [Wire(port) for _ in range(16)]
    try:
        return (await open_loop(wires, lambda: SUBMIT, rate=RATE, seconds=SECONDS)).percentile(0.99)
    finally:
        for wire in wires:
            wire.close()
