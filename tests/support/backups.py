"""`broker-backup` and `restore` as processes, as in the container."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from support.broker_process import BrokerProcess


async def command(broker: BrokerProcess, name: str, content: bytes = b"") -> tuple[int, bytes, str]:
    """Run one with the broker's settings: exit code, standard output, standard error."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker", name),
        env=broker._environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, error = await run.communicate(content)
    return run.returncode or 0, out, error.decode()


async def backup(broker: BrokerProcess) -> bytes:
    """A backup of a running broker."""
    code, tar, said = await command(broker, "backup")
    assert code == 0, said
    return tar


async def restored(directory: Path, tar: bytes, *, port: int, environment: dict[str, str]) -> BrokerProcess:
    """A broker, not started, on files that came from a backup."""
    broker = BrokerProcess(directory, environment, port=port)
    code, _, said = await command(broker, "restore", tar)
    assert code == 0, said
    return broker
