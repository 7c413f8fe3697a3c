"""Results on their way to the broker: in memory at first, on disk as soon as delivery is not immediate.

A result whose first delivery succeeds within PERSIST_AFTER costs no disk write: the broker's acknowledgement is the
durable copy, and a crash within that moment only means that the job runs again (docs/adr/0051).
"""

import threading
import time
from dataclasses import dataclass, field

from agent.model import Key
from agent.spool import Entry, Spool

PERSIST_AFTER = 0.25  # seconds
BATCH_RESULTS = 32
BATCH_SIZE = 1 << 20  # characters; a larger result travels alone
FULL_RESULTS = 256
FULL_SIZE = 64 << 20  # characters held; beyond either the node claims no more
MAX_AGE = 3600.0  # seconds; the broker keeps results no longer by default (RESULT_TTL)


@dataclass
class _Item:
    entry: Entry
    added: float = field(default_factory=time.monotonic)
    due: float = 0.0
    in_flight: bool = False
    on_disk: bool = False


class Outbox:
    """The undelivered results. Thread-safe; any number of threads may take."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._items: dict[Key, _Item] = {}
        self._changed = threading.Condition()

    def load(self) -> int:
        """Take over what an earlier process left on disk; how many."""
        entries = self._spool.load()
        with self._changed:
            self._items.update((entry.key, _Item(entry, on_disk=True)) for entry in entries)
            self._changed.notify_all()
        return len(entries)

    def add(self, entry: Entry) -> None:
        """Deliver this as soon as possible."""
        with self._changed:
            self._items[entry.key] = _Item(entry)
            self._changed.notify()

    def take(self, timeout: float) -> list[Entry]:
        """Results that are due, all of one session and of different jobs; [] when none becomes due in time."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                batch = self._due(now)
                if batch or now >= deadline:
                    return batch
                next_due = min((i.due for i in self._items.values() if not i.in_flight), default=deadline)
                self._changed.wait(max(0.0, min(next_due, deadline) - now))

    def _due(self, now: float) -> list[Entry]:
        batch: list[Entry] = []
        jobs: set[str] = set()
        size = 0
        for item in self._items.values():
            entry = item.entry
            if item.in_flight or item.due > now or entry.key.job_id in jobs:
                continue
            if batch and (entry.who != batch[0].who or size + entry.size > BATCH_SIZE):
                continue
            item.in_flight = True
            batch.append(entry)
            jobs.add(entry.key.job_id)
            size += entry.size
            if len(batch) >= BATCH_RESULTS or size > BATCH_SIZE:
                break
        return batch

    def done(self, key: Key) -> None:
        """Delivered, or not wanted any more."""
        with self._changed:
            item = self._items.get(key)
            written = item is not None and item.on_disk
        if written:
            self._spool.remove(key)
        with self._changed:
            self._items.pop(key, None)
            self._changed.notify_all()

    def later(self, entry: Entry, delay: float) -> None:
        """It was not delivered: keep it on disk and let it be taken again in `delay` seconds, unless it is too old."""
        with self._changed:
            item = self._items.get(entry.key)
            if item is None:
                return
            item.entry = entry
            expired = time.monotonic() - item.added > MAX_AGE
        if expired:
            self.done(entry.key)
            return
        self._persist(item)
        with self._changed:
            item.due = time.monotonic() + delay
            item.in_flight = False
            self._changed.notify()

    def persist(self, older_than: float = PERSIST_AFTER) -> None:
        """Write to disk whatever has been waiting or under way for that many seconds."""
        limit = time.monotonic() - older_than
        with self._changed:
            items = [item for item in self._items.values() if not item.on_disk and item.added <= limit]
        for item in items:
            self._persist(item)

    def _persist(self, item: _Item) -> None:
        with self._changed:
            if item.on_disk:
                return
            item.on_disk = True  # claimed by this thread; another one must not write the same file
        kept = self._spool.keep(item.entry)
        with self._changed:
            item.on_disk = kept
            gone = self._items.get(item.entry.key) is not item
        if kept and gone:
            self._spool.remove(item.entry.key)

    @property
    def full(self) -> bool:
        """Whether the node should not take on more work before some of this is delivered."""
        with self._changed:
            if len(self._items) >= FULL_RESULTS:
                return True
            return sum(item.entry.size for item in self._items.values()) >= FULL_SIZE

    @property
    def counts(self) -> tuple[int, int]:
        """Undelivered results, and how many of them are on the disk."""
        with self._changed:
            return len(self._items), sum(item.on_disk for item in self._items.values())

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    def hurry(self) -> None:
        """Let everything be taken now, whatever pause it was given."""
        with self._changed:
            for item in self._items.values():
                item.due = 0.0
            self._changed.notify_all()

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is left; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._items, timeout)
