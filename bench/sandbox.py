"""What isolation costs, and how long a hello world takes from submit to result; on the real images in containers."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path

from docker.models.containers import Container

from bench.figures import Figure, below
from bench.load import Wire
from support.bundle import Bundle, wrapped

PAIRS = 60
RUNS = 60
SCRIPT = Path(__file__).with_name("inside_node.py")
BURST = 200
HELLO = {"code": "print('hello')", "interpreter": "python3"}


async def measure_sandbox(directory: Path, rounds: int) -> list[Figure]:
    """One bundle with one node of two slots, limited as in compose.yaml, nothing else running in it."""
    del directory  # the containers have files of their own
    plain = Figure(f"plain python3 hello world in the node, median of {PAIRS}", "ms")
    boxed = Figure("the same in the sandbox, in turn with it", "ms")
    cost = Figure("added by the sandbox", "ms")
    p50 = Figure(f"submit to result on an idle bundle, median of {RUNS}", "ms", "< 40", below(40))
    p95 = Figure("the same, 95th percentile", "ms", "< 80", below(80))
    burst = Figure(f"hello worlds of {BURST} submitted at once, 2 slots on 1 CPU", "/s")
    bundle = await asyncio.to_thread(Bundle(nodes=0).__enter__)
    try:
        node = wrapped(await asyncio.to_thread(bundle.start_node))
        await asyncio.to_thread(bundle.wait_for_nodes, 1)
        wire = Wire(bundle.port)
        await _latencies(wire, 5)
        for _ in range(rounds):
            times = await asyncio.to_thread(_inside, node)
            plain.values.append(statistics.median(times["plain"]))
            boxed.values.append(statistics.median(times["sandboxed"]))
            cost.values.append(boxed.values[-1] - plain.values[-1])
            latencies = await _latencies(wire, RUNS)
            p50.values.append(statistics.median(latencies))
            p95.values.append(statistics.quantiles(latencies, n=20)[-1])
            burst.values.append(await _burst(wire))
        wire.close()
    finally:
        await asyncio.to_thread(bundle.close)
    return [plain, boxed, cost, p50, p95, burst]


def _inside(node: Container) -> dict[str, list[float]]:
    """The pairs that inside_node.py measures in the node's container."""
    script = SCRIPT.read_text(encoding="utf-8")
    code, output = node.exec_run(["python", "-c", script, str(PAIRS)], demux=True)
    if code != 0:
        raise RuntimeError(f"inside_node.py ended with {code}: {output}")
    times: dict[str, list[float]] = json.loads(output[0].splitlines()[-1])
    return times


async def _latencies(wire: Wire, count: int) -> list[float]:
    """Milliseconds from a submit's first byte to the result's last, one job after the other."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        job = await wire.ask("POST", "/submit", HELLO)
        result = await wire.ask("GET", f"/results/{job['job_id']}?wait=25")
        found.append((time.perf_counter() - started) * 1000)
        assert result["output"] == "hello\n", result
    return found


async def _burst(wire: Wire) -> float:
    """Jobs a second, from the submit of all to the result of the last."""
    started = time.perf_counter()
    jobs = (await wire.ask("POST", "/submit/batch", {"jobs": [HELLO] * BURST}))["jobs"]
    for job in jobs:
        result = await wire.ask("GET", f"/results/{job['job_id']}?wait=25")
        assert result["status"] == "completed", result
    return BURST / (time.perf_counter() - started)
