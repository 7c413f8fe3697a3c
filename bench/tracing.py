"""What traces cost a full cycle of the broker: with them on, beside the broker without, in turns as in bench.counting.

The collector is a process of its own that reads and forgets. A broker that is kept as busy as this may drop spans: how
many arrived is a figure too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.counting import PAIRS_A_ROUND, in_turns
from bench.figures import Figure
from bench.load import Wire
from bench.servers import broker, traced
from bench.throughput import cycles
from support.broker_process import free_port
from support.http_connection import request_bytes
from support.scrape import Scrape

SHARES = {"every job": 1.0, "a tenth of the jobs": 0.1, "none of the jobs": 0.0}
_FORGETS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


async def measure_tracing(directory: Path, rounds: int) -> list[Figure]:
    """The change of a full cycle's processor time by traces, by how many jobs are sampled."""
    figures = []
    async with _collector() as collector:
        for number, (words, share) in enumerate(SHARES.items()):
            cost = Figure(f"processor time of a full cycle: change by traces of {words}", "%")
            told = Figure(f"spans that reached the collector, with traces of {words}", "%")
            async with (
                traced(directory / f"traced-{number}", collector, share) as with_it,
                broker(directory / f"plain-{number}") as without,
                cycles(with_it.port) as load_with,
                cycles(without.port) as load_without,
            ):
                await load_with(1.0)  # warm up
                await load_without(1.0)
                for _ in range(rounds):
                    cost.values.append(
                        (await in_turns((with_it, load_with), (without, load_without), PAIRS_A_ROUND))[0]
                    )
                if share:
                    told.values.append(await _told(with_it.port))
            figures += [cost, told] if told.values else [cost]
    return figures


async def _told(port: int) -> float:
    """Of all spans, in percent; jobs that were not read count as three."""
    seen = Scrape((await Wire(port).send(request_bytes("GET", "/metrics"))).body.decode())
    spans = seen.by("sandrun_broker_trace_spans_total", "result")
    unread = 3 * seen("sandrun_broker_trace_jobs_dropped_total")
    return 100 * spans.get("sent", 0.0) / (sum(spans.values()) + unread)


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _FORGETS, str(port))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()
