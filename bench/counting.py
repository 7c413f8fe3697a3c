"""What /metrics costs a full cycle: the broker as it is, scraped as Prometheus does, beside one that counts nothing.

The difference is smaller than a machine's moods. So the two take turns for a third of a second at a time, and each turn
is compared with its neighbour. Processor time tells more than the rate, which the load generator has a share in.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

from bench.figures import Figure, below
from bench.load import Wire
from bench.servers import broker, uncounted
from bench.throughput import Load, cycles
from support.broker_process import BrokerProcess
from support.http_connection import request_bytes

SECONDS = 0.3
PAIRS_A_ROUND = 40
SCRAPE_SECONDS = 5.0
"""As deploy/prometheus/prometheus.yml has it."""
Turn = tuple[float, float]
"""Processor time of a cycle, and cycles a second."""


async def measure_counting(directory: Path, rounds: int) -> list[Figure]:
    """The change of a full cycle's processor time and rate by counting and being scraped."""
    cost = Figure("processor time of a full cycle: change by counting for /metrics", "%", "< 3", below(3))
    slower = Figure("rate of full cycles: change by the same", "%")
    async with (
        broker(directory / "counting") as with_it,
        uncounted(directory / "uncounted") as without,
        cycles(with_it.port) as load_with,
        cycles(without.port) as load_without,
    ):
        await load_with(1.0)  # warm up
        await load_without(1.0)
        scraping = asyncio.create_task(_scrape(with_it.port))
        for _ in range(rounds):
            pairs = []
            for number in range(PAIRS_A_ROUND):
                turns = [(with_it, load_with), (without, load_without)]
                if number % 2:
                    turns.reverse()
                taken = [await _turn(*turn) for turn in turns]
                pairs.append(taken[::-1] if number % 2 else taken)
            cost.values.append((median(counted[0] / plain[0] for counted, plain in pairs) - 1) * 100)
            slower.values.append((median(counted[1] / plain[1] for counted, plain in pairs) - 1) * 100)
        scraping.cancel()
    return [cost, slower]


async def _turn(server: BrokerProcess, load: Load) -> Turn:
    before = _cpu_seconds(server.pid)
    sample = await load(SECONDS)
    return (_cpu_seconds(server.pid) - before) / sample.count, sample.rate


def _cpu_seconds(pid: int) -> float:
    """Of a process, to the nanosecond: what clock_getcpuclockid(3) makes of a process id. /proc has hundredths."""
    return time.clock_gettime((~pid << 3) | 2)


async def _scrape(port: int) -> None:
    wire = Wire(port)
    while True:
        await wire.send(request_bytes("GET", "/metrics"))
        await asyncio.sleep(SCRAPE_SECONDS)
