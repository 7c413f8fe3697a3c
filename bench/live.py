"""How soon a follower sees a line, and whether followers slow a job; on the real images in containers."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from pathlib import Path

import requests

from bench.figures import Figure, below
from support.bundle import Bundle

LINES = 40
FOLLOWERS = 50
# Prints the time of the machine that both sides run on.
STAMPS = f"import time\nfor n in range({LINES}):\n    print(time.time(), flush=True)\n    time.sleep(0.1)\n"
_TIMED = (
    "import time\nt = time.time()\nfor n in range({}):\n    print('line', n, flush=True)\n{}print(time.time() - t)\n"
)
BURST = _TIMED.format(20000, "")
PACED = _TIMED.format(600, "    time.sleep(0.005)\n")


async def measure_live(directory: Path, rounds: int) -> list[Figure]:
    """One bundle with one node of two slots, nothing else running in it."""
    del directory
    p50 = Figure(f"a printed line to its follower, median of {LINES}", "ms", "< 300", below(300))
    worst = Figure("the same, the slowest", "ms", "< 300", below(300))
    paced = _pair("600 lines, 5 ms apart")
    burst = _pair("20,000 lines at once, each flushed")
    bundle = await asyncio.to_thread(Bundle(nodes=1).__enter__)
    try:
        for _ in range(rounds):
            delays = await asyncio.to_thread(_delays, bundle)
            p50.values.append(statistics.median(delays))
            worst.values.append(max(delays))
            for code, figures in ((PACED, paced), (BURST, burst)):
                for followers, figure in zip((0, FOLLOWERS), figures, strict=True):
                    figure.values.append(await asyncio.to_thread(_print_time, bundle, code, followers))
    finally:
        await asyncio.to_thread(bundle.close)
    return [p50, worst, *paced, *burst]


def _pair(what: str) -> tuple[Figure, Figure]:
    return Figure(f"{what}, nobody follows", "s"), Figure(f"the same with {FOLLOWERS} followers", "s")


def _delays(bundle: Bundle) -> list[float]:
    """Milliseconds from the print in the sandbox to the follower's reading of it."""
    job_id = bundle.submit(STAMPS)
    delays = []
    with requests.get(f"{bundle.url}/logs/{job_id}?follow=true", stream=True, timeout=60) as answer:
        kind = ""
        for line in answer.iter_lines(chunk_size=1):
            name, _, value = line.decode().partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind == "stdout":
                now = time.time()
                delays += [(now - float(stamp)) * 1000 for stamp in json.loads(value)["text"].split()]
    return delays


def _print_time(bundle: Bundle, code: str, followers: int) -> float:
    """Seconds that the job took to print, by its own clock."""
    job_id = bundle.submit(code)
    readers = [threading.Thread(target=_read, args=(bundle.url, job_id)) for _ in range(followers)]
    for reader in readers:
        reader.start()
    output = bundle.result(job_id)["output"]
    for reader in readers:
        reader.join()
    return float(output.split()[-1])


def _read(url: str, job_id: str) -> None:
    with requests.get(f"{url}/logs/{job_id}?follow=true", stream=True, timeout=60) as answer:
        for _ in answer.iter_content(65536):
            pass
