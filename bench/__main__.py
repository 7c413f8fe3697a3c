"""Measures the broker beside the Flask baseline, prints a table, writes docs/benchmarks.md on request."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from bench.counting import measure_counting
from bench.dashboard import measure_dashboard
from bench.figures import Figure, markdown, plain
from bench.live import measure_live
from bench.reconnect import measure_reconnect
from bench.sandbox import measure_sandbox
from bench.scale import measure_aside, measure_million
from bench.shapes import measure_shapes
from bench.shell import measure_shell
from bench.throughput import measure_throughput
from bench.tracing import measure_tracing

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
PARTS: dict[str, Callable[[Path, int], Awaitable[list[Figure]]]] = {
    "throughput": measure_throughput,
    "counting": measure_counting,
    "tracing": measure_tracing,
    "aside": measure_aside,
    "million": measure_million,
    "shapes": measure_shapes,
    "reconnect": measure_reconnect,
    "shell": measure_shell,
    "sandbox": measure_sandbox,
    "live": measure_live,
    "dashboard": measure_dashboard,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(PARTS)}; default all")
    parser.add_argument("--rounds", type=int, default=5, help="values behind each median (5)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - PARTS.keys()
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return arguments


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, fsync of 4 KiB: {_fsync_ms():.2f} ms (median)"
    )


def _fsync_ms() -> float:
    """What a durable commit costs at least on this disk."""
    times = []
    with tempfile.NamedTemporaryFile(dir=tempfile.gettempdir()) as file:
        for _ in range(51):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[25] * 1000


def _write(table: str, conditions: str) -> None:
    """Replace the report's measured section; its text stays."""
    begin, end = "<!-- measured -->", "<!-- /measured -->"
    before, _, rest = REPORT.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    REPORT.write_text(f"{before}{begin}\n{conditions}\n\n{table}\n{end}{after}", encoding="utf-8")


async def _measure(parts: list[str], rounds: int) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for name in parts:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            figures += await PARTS[name](Path(directory) / name, rounds)
    return figures


def main() -> None:
    """Measure what was asked for."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    figures = uvloop.run(_measure(arguments.parts or list(PARTS), arguments.rounds))
    conditions = (
        f"{_machine()}. Load of the machine before the run: {load_before:.2f}. "
        f"Rows with extremes are medians of {arguments.rounds}; the others were measured once."
    )
    print(conditions + "\n\n" + plain(figures))
    if arguments.write:
        _write(markdown(figures), conditions)


if __name__ == "__main__":
    main()
