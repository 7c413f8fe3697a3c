"""Requests in bytes, and connections to a real process that send them."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from support.broker_process import BrokerProcess
from support.raw import Raw

MIB = 1024 * 1024
GET = b"GET /ready HTTP/1.1\r\nhost: b\r\n"
POST = b"POST /submit HTTP/1.1\r\nhost: b\r\ncontent-type: application/json\r\n"


@contextlib.asynccontextmanager
async def dialled(process: BrokerProcess) -> AsyncIterator[Raw]:
    raw = await Raw.open(process.port)
    try:
        yield raw
    finally:
        await raw.close()


def connections(process: BrokerProcess) -> int:
    """Established TCP connections of the process, as the kernel lists them."""
    port = f":{process.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)
