"""Metering: what owners' attempts used, added up by day and outcome in the transaction that ends the attempt.

An attempt ends once, whatever is repeated or comes late, so it is counted once. What an attempt used that was lost with
its node is unknown: it counts with nothing used. Jobs without an owner are not metered.
"""

from datetime import UTC, datetime

from broker.domain.words import AttemptOutcome
from broker.store.changes import Owned
from broker.store.sql import keys
from broker.store.transaction import Transaction

__all__ = ["CACHED", "SUBMITTED", "day_of", "meter_attempt", "meter_job"]

SUBMITTED = "submitted"
"""The row that counts jobs taken, and their bytes."""
CACHED = "cached"
"""The row that counts jobs answered with an identical job's result."""
MIB = 1024 * 1024


def day_of(moment: float) -> str:
    """The UTC day of a moment, as YYYY-MM-DD."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def meter_job(tx: Transaction, owner: str, row: str, now: float, bytes_in: int = 0) -> None:
    """Count a job in the SUBMITTED or CACHED row."""
    _add(tx, owner, row, now, bytes_in=bytes_in)


def meter_attempt(
    tx: Transaction,
    owner: str,
    outcome: AttemptOutcome,
    now: float,
    used: tuple[float | None, float | None, int | None],
    bytes_out: int,
) -> None:
    """Count an attempt that ends. `used`: wall seconds, CPU seconds, peak memory in bytes, as its node measured them;
    memory is charged at its peak for the whole time."""
    wall, cpu, memory = (max(0, value or 0) for value in used)
    _add(tx, owner, outcome.value, now, cpu, wall, memory / MIB * wall, bytes_out=bytes_out)
    if cpu:
        tx.changes.owned.append(Owned(owner, cpu_seconds=cpu))


def _add(
    tx: Transaction,
    owner: str,
    outcome: str,
    now: float,
    cpu: float = 0.0,
    wall: float = 0.0,
    memory: float = 0.0,
    *,
    bytes_in: int = 0,
    bytes_out: int = 0,
) -> None:
    tx.run(
        keys.METER,
        {
            "day": day_of(now),
            "owner": owner,
            "outcome": outcome,
            "count": 1,
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "memory_mb_seconds": memory,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
        },
    )
