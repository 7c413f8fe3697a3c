"""How soon work goes on after something died, on the real images; writes the recovery table of README and report.

`make bench-failover`, or `python -m bench.failover --write`. One cluster of three nodes with two slots each and nothing
else to do. Every figure counts from the moment before the engine is told to kill.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from failover.cluster import Cluster
from failover.node import Node

ROOT = Path(__file__).resolve().parents[1]
PLACES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
BEGIN, END = "<!-- recovery -->", "<!-- /recovery -->"
LEASE = 5
DRAIN = 2
LONG = 50.0
"""A job that does not end by itself while it is measured."""
BACKLOG = 30


@dataclass
class Recovery:
    """One row: what fails, what is waited for, and the seconds that it took."""

    fails: str
    until: str
    values: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """The row's texts."""
        p95 = sorted(self.values)[math.ceil(0.95 * len(self.values)) - 1]
        times = [f"{seconds:.2f} s" for seconds in (statistics.median(self.values), p95)]
        return [self.fails, self.until, *times, str(len(self.values))]


def main() -> None:
    """Measure and print; with --write also into the documents."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each kind (20)")
    parser.add_argument("--write", action="store_true", help="put the table into README.md and docs/benchmarks.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    broker = {"NODE_TIMEOUT": str(LEASE)}
    with Cluster(nodes=3, broker=broker, node={"NODE_DRAIN_SECONDS": str(DRAIN), "LOG_LEVEL": "info"}) as cluster:
        rows = [
            _node_killed(cluster, arguments.kills),
            _node_silent(cluster, max(1, arguments.kills // 2)),
            _broker_killed(cluster, arguments.kills),
            _idle_stopped(cluster, max(1, arguments.kills // 2)),
            _busy_stopped(cluster, max(1, arguments.kills // 2)),
        ]
    table = _table(rows)
    print(f"load before the run {load:.2f}\n\n{table}")
    if arguments.write:
        for place in PLACES:
            _write(place, table)


def _node_killed(cluster: Cluster, times: int) -> Recovery:
    row = Recovery("a node's container is killed (SIGKILL)", "its job runs on another node")
    return _measure(row, times, lambda: _job_moves(cluster, Node.kill, Node.start))


def _node_silent(cluster: Cluster, times: int) -> Recovery:
    row = Recovery(f"a node freezes without closing anything, `NODE_TIMEOUT={LEASE}`", "its job runs on another node")
    return _measure(row, times, lambda: _job_moves(cluster, Node.pause, Node.resume))


def _broker_killed(cluster: Cluster, times: int) -> Recovery:
    row = Recovery("the broker is killed under load, `docker start` follows at once", "the first claim")
    return _measure(row, times, lambda: _claims_go_on(cluster))


def _idle_stopped(cluster: Cluster, times: int) -> Recovery:
    row = Recovery("`docker stop` of an idle node", "it has left")
    return _measure(row, times, lambda: _stopped(cluster))


def _busy_stopped(cluster: Cluster, times: int) -> Recovery:
    row = Recovery(
        f"`docker stop` of a node whose job outlasts `NODE_DRAIN_SECONDS={DRAIN}`", "the job runs on another node"
    )
    return _measure(row, times, lambda: _job_moves(cluster, Node.end, _start_again))


def _measure(row: Recovery, times: int, once: Callable[[], float]) -> Recovery:
    for _ in range(times):
        row.values.append(once())
        print(f"{row.fails}: {row.values[-1]:.2f} s", file=sys.stderr, flush=True)
    return row


def _job_moves(cluster: Cluster, fault: Callable[[Node], None], mend: Callable[[Node], None]) -> float:
    """Seconds from the fault under a running job until the broker says that it runs elsewhere."""
    job = cluster.launch(LONG)
    (victim,) = cluster.running([job])
    began = time.monotonic()
    fault(victim)
    cluster.running([job], elsewhere_than=victim)
    took = time.monotonic() - began
    cluster.client.cancel(job)
    cluster.client.result(job)
    mend(victim)
    cluster.wait_registered([victim])
    return took


def _claims_go_on(cluster: Cluster) -> float:
    """Seconds from the kill until the first claim that the new process grants, on the broker's own clock."""
    jobs = [cluster.launch(0.3) for _ in range(BACKLOG)]
    cluster.client.result(jobs[3])
    began = time.time()
    cluster.kill_broker()
    cluster.start_broker()
    claims = []
    for job in jobs:
        cluster.client.result(job)
        claims += [datetime.fromisoformat(a["claimed_at"]).timestamp() for a in cluster.client.attempts(job)]
    return min(claim for claim in claims if claim > began) - began


def _start_again(node: Node) -> None:
    node.box.wait(timeout=30)
    node.start()


def _stopped(cluster: Cluster) -> float:
    node = cluster.nodes[0]
    began = time.monotonic()
    node.stop()
    took = time.monotonic() - began
    node.start()
    cluster.wait_registered([node])
    return took


def _table(rows: list[Recovery]) -> str:
    heading = ["what happens", "until", "median", "p95", "times"]
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [heading, ["---"] * len(heading), *(row.cells() for row in rows)]
    )


def _write(place: Path, table: str) -> None:
    before, begin, rest = place.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{place} has no section between {BEGIN} and {END}")
    place.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
