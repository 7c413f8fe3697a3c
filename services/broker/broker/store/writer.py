"""The one thread that writes. Whatever waits becomes one transaction and one commit; only then are callers answered.

Group commit without linger: the first waiting operation starts a group at once, and what arrives during its commit is
the next group. At 32 callers this gave 41,000 durable operations a second in a trial, against 1,200 for a connection
each; waiting a millisecond for more company cut it to a quarter.
"""

import asyncio
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from broker.domain.histogram import CALL_SECONDS, Histogram
from broker.errors import OverloadedError, StoreBrokenError
from broker.logs import EventLog
from broker.store.changes import Changes
from broker.store.transaction import Transaction

__all__ = ["GroupWriter"]

log = EventLog(__name__)

T = TypeVar("T")

GROUP_LIMIT = 256
"""Operations in one transaction: bounds how long the first of them waits."""
GROUP_BYTES = 2 * 1024 * 1024
"""The same for payload."""
WAITING_BYTES = 64 * 1024 * 1024
"""Payload that may wait for a group; beyond it calls are refused, so that a slow disk cannot fill the memory."""
IDLE_CHECKPOINT_ROWS = 2000
"""After so many changed rows the write-ahead log is folded back at the next idle moment rather than under load."""

Subscriber = Callable[[list[Changes]], None]


@dataclass(slots=True)
class _Pending(Generic[T]):
    """An operation and who waits for it."""

    operation: Callable[[Transaction], T]
    future: "asyncio.Future[T]"
    size: int
    queued_at: float
    result: T | None = None
    error: BaseException | None = None
    changes: Changes | None = None


class GroupWriter:
    """Runs operations on the write connection, in order of arrival within their lane, in groups.

    Operations are functions of a Transaction. One that raises harms nobody else: its group is rolled back and every
    member run again by itself. When the database itself fails (disk full, lock held by a foreign process) the whole
    group fails with StoreBrokenError, and nothing of it is kept.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        subscriber: Subscriber,
        *,
        limit: int,
        jitter: random.Random,
    ) -> None:
        self._connection = connection
        self._checkpointed = connection.total_changes
        self._subscriber = subscriber
        self._limit = limit
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._urgent: deque[_Pending[Any]] = deque()
        self._normal: deque[_Pending[Any]] = deque()
        self._wake = threading.Condition(threading.Lock())
        self._waiting_bytes = 0
        self._stopping = False
        self.trouble: str | None = None
        """What the database said when it last refused a group; None once it has taken one again."""
        self.alive = True
        """Whether the thread runs; it ends by itself only when something is broken that nobody foresaw."""
        self.commits = Histogram(CALL_SECONDS)
        """Seconds that the groups' transactions took."""
        self.operations = Histogram(CALL_SECONDS)
        """Seconds from an operation's call to its commit."""
        self.refused_groups = 0
        """Groups that the database refused."""
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Operations that wait for a group."""
        return len(self._urgent) + len(self._normal)

    @property
    def waiting_bytes(self) -> int:
        """Their payload."""
        return self._waiting_bytes

    def submit(
        self, operation: Callable[[Transaction], T], *, urgent: bool = False, size: int = 0
    ) -> "asyncio.Future[T]":
        """Queue an operation; the future resolves after its commit. OverloadedError when too much waits."""
        if self._stopping:
            raise StoreBrokenError("The store is closed.")
        # Urgent work (completions, rescues) may use more: refusing it would only bring it back later.
        slack = 2 if urgent else 1
        if self.waiting >= self._limit * slack or self._waiting_bytes >= WAITING_BYTES * slack:
            raise OverloadedError
        pending = _Pending(operation, self._loop.create_future(), size, time.perf_counter())
        with self._wake:
            (self._urgent if urgent else self._normal).append(pending)
            self._waiting_bytes += size
            self._wake.notify()
        return pending.future

    async def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await self._ended

    # ---- below: the writer's thread

    def _work(self) -> None:
        group: list[_Pending[Any]] = []
        try:
            while group := self._next_group():
                began = time.perf_counter()
                self._run_group(self._connection, group)
                self._loop.call_soon_threadsafe(self._deliver, group, began, time.perf_counter())
                if not self._urgent and not self._normal:
                    self._checkpoint()
        except BaseException:
            log.crash("the writer's thread ended")
            self.trouble = "the writer has ended: restart the broker"
            self._stopping = True
            self.alive = False
            self._fail(group, StoreBrokenError())
            self._loop.call_soon_threadsafe(self._deliver, group)
            self._loop.call_soon_threadsafe(self._abandon)
            raise
        finally:
            self._connection.close()
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _next_group(self) -> list[_Pending[Any]]:
        """Everything that waits, up to the limits; empty when the writer is to end."""
        with self._wake:
            while not self._urgent and not self._normal:
                if self._stopping:
                    return []
                self._wake.wait()
            group: list[_Pending[Any]] = []
            size = 0
            for lane in (self._urgent, self._normal):
                while lane and len(group) < GROUP_LIMIT and size < GROUP_BYTES:
                    pending = lane.popleft()
                    size += pending.size
                    group.append(pending)
            self._waiting_bytes -= size
            return group

    def _run_group(self, connection: sqlite3.Connection, group: list[_Pending[Any]]) -> None:
        try:
            self._transact(connection, group)
        except sqlite3.OperationalError as error:
            # The disk is full, or a foreign process holds the lock: nobody in the group can be served.
            log.error("the database refused a group", operations=len(group), error=error)
            self.trouble = str(error)
            self.refused_groups += 1
            self._fail(group, StoreBrokenError())
        except Exception as error:
            if len(group) == 1:
                log.crash("an operation failed and was rolled back")
                self._fail(group, error)
                return
            for pending in group:
                self._run_group(connection, [pending])

    def _transact(self, connection: sqlite3.Connection, group: list[_Pending[Any]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        try:
            for pending in group:
                if pending.future.cancelled():
                    # Nobody waits for it any more, and nothing was promised.
                    continue
                transaction = Transaction(connection, self._jitter)
                pending.result = pending.operation(transaction)
                pending.changes = transaction.changes
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may already have rolled back by itself (it does when the disk is full).
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if connection.total_changes > before:
            self.trouble = None

    def _checkpoint(self) -> None:
        if self._connection.total_changes - self._checkpointed < IDLE_CHECKPOINT_ROWS:
            return
        self._checkpointed = self._connection.total_changes
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError as error:
            log.warning("checkpoint put off", error=error)

    @staticmethod
    def _fail(group: list[_Pending[Any]], error: BaseException) -> None:
        for pending in group:
            pending.error = error
            pending.changes = None

    # ---- below: the event loop

    def _abandon(self) -> None:
        """The thread is no more: nobody is to wait for it."""
        left = [*self._urgent, *self._normal]
        self._fail(left, StoreBrokenError())
        self._deliver(left)

    def _deliver(self, group: list[_Pending[Any]], began: float = 0.0, ended: float = 0.0) -> None:
        """Tell the subscriber first, so that every answer finds counters and waiting calls up to date."""
        if ended:
            self.commits.add(ended - began)
            self.operations.add_all(ended - pending.queued_at for pending in group)
        try:
            self._subscriber([pending.changes for pending in group if pending.changes is not None])
        except Exception:
            log.crash("the subscriber failed; the callers get their answers all the same")
        for pending in group:
            if pending.future.done():
                continue
            if pending.error is not None:
                pending.future.set_exception(pending.error)
            else:
                pending.future.set_result(cast(Any, pending.result))
