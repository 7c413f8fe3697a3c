"""How busy the store is, for whoever watches the broker."""

from dataclasses import dataclass
from pathlib import Path

from broker.domain.histogram import Histogram

__all__ = ["StoreLoad", "stamp_of"]


@dataclass(frozen=True, slots=True)
class StoreLoad:
    """What the store has to do, how long that takes, and how large it is. The histograms are the store's own."""

    waiting: int
    """Operations that wait to be written."""
    waiting_bytes: int
    most_waiting: int
    refused: int
    """Groups of operations that the database refused since the start."""
    commits: Histogram
    """Seconds of each transaction."""
    operations: Histogram
    """Seconds from each operation's call to its commit."""
    database_bytes: int
    log_bytes: int
    """The write-ahead log, which is folded into the database now and then."""
    free_bytes: int
    """Room on the disk that the database lies on."""
    backed_up_at: float | None
    """When the last backup was made; None when none is known of."""


def stamp_of(database: Path) -> Path:
    """The file whose time tells when the database was backed up last."""
    return database.with_name(database.name + ".backed-up")
