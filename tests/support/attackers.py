"""Callers who want to keep others from being served, as a program of their own: `python -m support.attackers PORT`.

Slow ones say one byte a second, of a head or of a body, and come again when they are thrown out. Floods send bodies
that are far too large, declared or in chunks, as fast as they are taken.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from contextlib import suppress

HEAD = b"POST /submit HTTP/1.1\r\nhost: b\r\ncontent-type: application/json\r\n"
SLOW_BYTES = (HEAD + b"x-pad: " + b"y" * 1000, HEAD + b"content-length: 1000\r\n\r\n" + b"{" * 1000)
PIECE = b"10000\r\n" + b"x" * 65536 + b"\r\n"
FLOOD_HEADS = (HEAD + b"content-length: 500000000\r\n\r\n", HEAD + b"transfer-encoding: chunked\r\n\r\n")
FLOOD_PIECES = 100


async def slow(port: int, number: int) -> None:
    """For ever: connect, send all but the tail at once, then a byte a second."""
    text = SLOW_BYTES[number % len(SLOW_BYTES)]
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(text[:100])
                for at in itertools.count(100):
                    writer.write(text[at : at + 1])
                    await writer.drain()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await reader.read(1)
                            break  # thrown out: once more
            finally:
                writer.transport.abort()


async def flood(port: int, number: int) -> None:
    """For ever: connect, and send far too much."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(FLOOD_HEADS[number % len(FLOOD_HEADS)])
                for _ in range(FLOOD_PIECES):
                    writer.write(PIECE)
                    await writer.drain()
            finally:
                writer.transport.abort()


async def attack(port: int, slow_clients: int, floods: int, seconds: float) -> None:
    """All of them at once, for so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for number in range(slow_clients):
                tasks.create_task(slow(port, number))
            for number in range(floods):
                tasks.create_task(flood(port, number))
            print("attacking", flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--floods", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    asyncio.run(attack(arguments.port, arguments.slow, arguments.floods, arguments.seconds))


if __name__ == "__main__":
    main()
