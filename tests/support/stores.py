"""Stores for tests: every implementation under one name, migrated once and copied."""

import atexit
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from broker.store.base import Store
from broker.store.changes import Changes
from broker.store.migrate import migrate
from broker.store.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {}
"""Name -> makes a store whose data lies in a directory. A new implementation is added here and runs every test."""


class HalfJitter(random.Random):
    """Every backoff is half of its ceiling."""

    def random(self) -> float:
        return 0.5


def _sqlite(directory: Path) -> Store:
    database = directory / "broker.db"
    if not database.exists():
        shutil.copyfile(_migrated(), database)
    return SqliteStore(database, jitter=HalfJitter(), durable=False)


STORES["sqlite"] = _sqlite


@cache
def _migrated() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="broker-test-"))
    atexit.register(shutil.rmtree, directory)
    migrate(directory / "template.db")
    return directory / "template.db"


class Heard:
    """A subscriber that remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[Changes] = []

    def __call__(self, group: list[Changes]) -> None:
        self.changes += group

    def forget(self) -> None:
        self.changes.clear()

    @property
    def ready(self) -> dict[str, int]:
        """Class -> jobs that became claimable since the last `forget`."""
        total: dict[str, int] = {}
        for changes in self.changes:
            for key, count in changes.ready.items():
                total[key] = total.get(key, 0) + count
        return total

    @property
    def claimable_classes(self) -> set[str]:
        """Classes that may have claimable jobs, by all that was told."""
        classes: set[str] = set()
        for changes in self.changes:
            classes |= changes.ready.keys()
            classes -= changes.drained
        return classes

    @property
    def bounds(self) -> dict[str, float]:
        """For each class a rank below which nothing is claimable, by all that was told."""
        bounds: dict[str, float] = {}
        for changes in self.changes:
            for key, rank in changes.best.items():
                bounds[key] = min(rank, bounds.get(key, rank))
            bounds.update({key: rank for key, rank in changes.bounds.items() if key in bounds})
            for key in changes.drained:
                bounds.pop(key, None)
        return bounds

    @property
    def flow_changes(self) -> int:
        """By how much the number of pending jobs changed, submits apart."""
        return sum(change for changes in self.changes for change in changes.flows.values())

    @property
    def finished(self) -> list[str]:
        return [job_id for changes in self.changes for job_id in changes.finished]


@asynccontextmanager
async def opened(name: str, directory: Path, heard: Heard | None = None) -> AsyncIterator[Store]:
    """A store that is open inside the block."""
    store = STORES[name](directory)
    await store.open(heard or Heard())
    try:
        yield store
    finally:
        await store.close()
