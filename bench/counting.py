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
            change = await in_turns((with_it, load_with), (without, load_without), PAIRS_A_ROUND)
            cost.values.append(change[0])
            slower.values.append(change[1])
        scraping.cancel()
    return [cost, slower]


async def in_turns(
    with_it: tuple[BrokerProcess, Load], without: tuple[BrokerProcess, Load], pairs: int
) -> tuple[float, float]:
    """How much more processor time a cycle takes the first, and how many more cycles a second it does, in percent."""
    found = []
    for number in range(pairs):
        both = [with_it, without]
        before = [_cpu_seconds(server.pid) for server, _ in both]
        taken = [await load(SECONDS) for _, load in (reversed(both) if number % 2 else both)]
        samples = taken[::-1] if number % 2 else taken
        # Over both turns: what one does behind its answers may still go on when it is the other's turn.
        spent = [_cpu_seconds(server.pid) - began for (server, _), began in zip(both, before, strict=True)]
        found.append([(cpu / each.count, each.rate) for cpu, each in zip(spent, samples, strict=True)])
    return (
        (median(one[0] / other[0] for one, other in found) - 1) * 100,
        (median(one[1] / other[1] for one, other in found) - 1) * 100,
    )


def _cpu_seconds(pid: int) -> float:
    """Of a process, to the nanosecond: what clock_getcpuclockid(3) makes of a process id. /proc has hundredths."""
    return time.clock_gettime((~pid << 3) | 2)


async def _scrape(port: int) -> None:
    wire = Wire(port)
    while True:
        await wire.send(request_bytes("GET", "/metrics"))
        await asyncio.sleep(SCRAPE_SECONDS)
