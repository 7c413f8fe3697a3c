"""Results on their way to the broker: in memory at first, on disk as soon as delivery is not immediate.

A result whose first delivery succeeds within PERSIST_AFTER costs no disk write: the broker's acknowledgement is the
durable copy, and a crash within that moment only means that the job runs again (docs/adr/0051).
"""

import threading
import time
from dataclasses import dataclass, field

from agent.model import Key
from agent.spool import MAX_AGE, Entry, Spool

PERSIST_AFTER = 0.25  # seconds
DISK_RETRY = 5.0  # seconds after which a disk that took nothing is tried again
BATCH_RESULTS = 32
BATCH_SIZE = 1 << 20  # characters; a larger result travels alone
FULL_RESULTS = 256
FULL_SIZE = 64 << 20  # characters held; beyond either the node claims no more


@dataclass
class _Item:
    entry: Entry
    added: float = field(default_factory=time.monotonic)
    due: float = 0.0
    in_flight: bool = False
    on_disk: bool = False
    tries: int = 0
    """Deliveries that failed: after the first it belongs on the disk."""


class Outbox:
    """The undelivered results. Thread-safe; any number of threads may take.

    The disk is touched in `tidy` alone, by a thread of its own: one that hangs holds up neither beats nor the lease.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._items: dict[Key, _Item] = {}
        self._changed = threading.Condition()
        self._disk = threading.Lock()
        self._gone: set[Key] = set()
        """Written once and not wanted any more."""
        self._untidy = threading.Event()
        self._disk_again = 0.0
        self._not_before = 0.0

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
                self._changed.wait(max(0.0, min(max(next_due, self._not_before), deadline) - now))

    def _due(self, now: float) -> list[Entry]:
        batch: list[Entry] = []
        if now < self._not_before:
            return batch
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

    def done(self, key: Key) -> int:
        """Delivered, or not wanted any more; after how many deliveries that failed."""
        with self._changed:
            item = self._items.pop(key, None)
            if item is not None and item.on_disk:
                self._gone.add(key)
                self._untidy.set()
            self._changed.notify_all()
            return 0 if item is None else item.tries

    def later(self, entry: Entry, delay: float) -> bool:
        """It was not delivered: keep it on disk and let it be taken again in `delay` seconds.

        False when it is too old for that; the caller gives it up.
        """
        with self._changed:
            item = self._items.get(entry.key)
            if item is None:
                return True
            if time.monotonic() - item.added > MAX_AGE:
                return False
            if entry is not item.entry:
                item.entry, item.on_disk = entry, False
            item.tries += 1
            item.due = time.monotonic() + delay
            item.in_flight = False
            self._untidy.set()
            self._changed.notify()
        return True

    def pause(self, seconds: float) -> None:
        """Let nothing be taken for so long, fresh results included; 0 ends the pause.

        A broker that is away is not asked once for each result that waits.
        """
        with self._changed:
            self._not_before = time.monotonic() + seconds
            self._changed.notify_all()

    def keep_tidy(self, stop: threading.Event) -> None:
        """Write and remove files as it becomes necessary, until `stop` is set."""
        while not stop.is_set():
            self._untidy.wait(PERSIST_AFTER)
            self._untidy.clear()
            self.tidy()

    def tidy(self, older_than: float = PERSIST_AFTER) -> None:
        """Write to disk whatever was not delivered when it should, or waits for that many seconds; remove the rest."""
        with self._disk:
            with self._changed:
                gone, self._gone = self._gone, set()
            for key in gone:
                self._spool.remove(key)
            for item in self._to_write(older_than):
                with self._changed:
                    entry, item.on_disk = item.entry, True
                kept = self._spool.keep(entry)
                with self._changed:
                    if self._items.get(entry.key) is not item:
                        self._gone.add(entry.key)  # delivered meanwhile
                        self._untidy.set()
                    elif not kept or item.entry is not entry:
                        item.on_disk = False
                if not kept:
                    self._disk_again = time.monotonic() + DISK_RETRY
                    break

    def _to_write(self, older_than: float) -> list[_Item]:
        now = time.monotonic()
        if not self._spool.usable or now < self._disk_again:
            return []
        with self._changed:
            items = self._items.values()
            return [item for item in items if not item.on_disk and (item.tries or item.added <= now - older_than)]

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
            self._not_before = 0.0
            for item in self._items.values():
                item.due = 0.0
            self._changed.notify_all()

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is left; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._items, timeout)
