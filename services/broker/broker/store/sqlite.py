"""The store on one SQLite file: a thread that writes in groups, and a connection for short reads."""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broker.domain.barring import base_of
from broker.domain.words import JobStatus, NodeEventKind
from broker.errors import OverloadedError, StartError
from broker.store.access import SqliteAccess
from broker.store.base import Subscriber
from broker.store.changes import Changes
from broker.store.connection import FileLock, connect_reader, connect_writer
from broker.store.load import StoreLoad, stamp_of
from broker.store.migrate import migrate
from broker.store.node_log import SqliteNodeLog
from broker.store.ops import claim as claiming
from broker.store.ops import files, finish, nodes, submit, sweep
from broker.store.reader import Reader
from broker.store.records.access import Holding
from broker.store.records.attempt import (
    Attempt,
    CancelOutcome,
    ClaimGrant,
    ClaimRequest,
    Completion,
    CompletionOutcome,
    HeldAttempt,
    Lost,
    Ref,
)
from broker.store.records.history import History
from broker.store.records.job import Job, JobFilter, JobInput, Result, StoredFile
from broker.store.records.node import Node, NodeLease, Registration
from broker.store.records.submission import Submission, SubmitOutcome
from broker.store.records.upkeep import Backlog, Flow, SweepPolicy, Swept
from broker.store.sql import keys, upkeep
from broker.store.transaction import Transaction
from broker.store.webhooks import SqliteWebhooks
from broker.store.writer import GroupWriter

__all__ = ["SqliteStore"]

MAX_LISTINGS = 64
"""Lists of jobs that may wait for their thread: one rare filter walks far."""
FENCES_PER_SECOND = 1_000_000
"""More claims of one job than there can be in a second; times the seconds since 1970, exact in JSON until 2255."""


class SqliteStore:
    """See broker.store.base.Store. One process per file."""

    access: SqliteAccess
    webhooks: SqliteWebhooks
    node_log: SqliteNodeLog

    def __init__(
        self,
        database: Path,
        *,
        durable: bool = True,
        max_queued: int = 10_000,
        jitter: random.Random | None = None,
    ) -> None:
        self._database = database
        self._durable = durable
        self._max_queued = max_queued
        self._jitter = jitter or random.Random()  # noqa: S311  # spreads retries, guards nothing
        self._lock = FileLock(database)
        self._totals: Counter[JobStatus] = Counter()
        self._next_due: float | None = None
        self._fence_floor = 0

    # ---- life

    async def open(self, subscriber: Subscriber) -> None:
        """Lock, migrate, connect. StartError says what to do when one of them is impossible."""
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            migrate(self._database)
            connection = connect_writer(self._database, durable=self._durable)
            self._reader = Reader(connect_reader(self._database))
            self._long_reader = Reader(connect_reader(self._database))
            self._lister = Reader(connect_reader(self._database))
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"BROKER_DATABASE={self._database} cannot be opened: {error}") from None
        self._listings = 0
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._list_threads = ThreadPoolExecutor(1, thread_name_prefix="store-lister")
        self._subscriber = subscriber
        self._writer = GroupWriter(connection, self._committed, limit=self._max_queued, jitter=self._jitter)
        self.access = SqliteAccess(self._writer, self._reader)
        self.webhooks = SqliteWebhooks(self._writer, self._reader)
        self.node_log = SqliteNodeLog(self._writer, self._reader, self._long_reader, self._threads)

    async def close(self) -> None:
        """Finish what waits; fold the log back; let the next broker in."""
        await self._writer.close()
        self._threads.shutdown()
        self._list_threads.shutdown()
        self._reader.close()
        self._long_reader.close()
        self._lister.close()
        self._lock.release()

    async def last_clock(self) -> float:
        """The latest time that was saved."""
        row = await self._writer.submit(lambda tx: tx.row(upkeep.READ_CLOCK, {}))
        return float(row[0]) if row else 0.0

    async def resume(self, now: float, stopped_at: float, lease_seconds: float) -> Backlog:
        """Grant leases and time to whoever had them; count what is there."""
        return await self._writer.submit(lambda tx: self._resume(tx, now, stopped_at, lease_seconds))

    def _resume(self, tx: Transaction, now: float, stopped_at: float, lease_seconds: float) -> Backlog:
        until = now + lease_seconds
        tx.run(upkeep.GRANT_LEASES, {"stopped_at": stopped_at, "until": until})
        tx.run(upkeep.GRANT_TIME, {"until": until})
        tx.run(upkeep.SAVE_CLOCK, {"now": now})
        totals = {JobStatus(status): count for status, count in tx.rows(upkeep.TOTALS, {})}
        self._totals = Counter(totals)
        # Should this file be an older copy, fences above its own were given out for jobs that it takes for unclaimed.
        unfinished = totals.keys() - {JobStatus.COMPLETED, JobStatus.FAILED}
        self._fence_floor = int(now * FENCES_PER_SECOND) if unfinished else 0  # adr/0018
        self._next_due = tx.rows(upkeep.NEXT_DUE, {})[0][0]
        return Backlog(
            totals=totals,
            class_keys=frozenset(row[0] for row in tx.rows(upkeep.PENDING_CLASSES, {})),
            flows=tuple(Flow(base_of(key), *rest) for key, *rest in tx.rows(upkeep.PENDING_FLOWS, {})),
            holdings=tuple(Holding(*row) for row in tx.rows(keys.HOLDINGS, {})),
        )

    def _committed(self, group: list[Changes]) -> None:
        for changes in group:
            if changes.totals:
                for status, change in changes.totals.items():
                    self._totals[status] += change
            if changes.due_is_earliest:
                self._next_due = changes.due
            elif changes.due is not None:
                self._next_due = changes.due if self._next_due is None else min(self._next_due, changes.due)
        self._subscriber(group)

    # ---- jobs

    async def submit(self, submission: Submission, now: float) -> SubmitOutcome:
        """Store all jobs or none."""
        size = sum(len(job.code) + len(job.spec or "") for job in submission.jobs)
        return await self._writer.submit(lambda tx: submit.submit(tx, submission, now), size=size)

    async def claim(self, request: ClaimRequest, now: float) -> ClaimGrant:
        """Hand out pending jobs, best rank first."""
        due = self._next_due is not None and self._next_due <= now
        return await self._writer.submit(
            lambda tx: claiming.claim(tx, request, now, promote_first=due, fence_floor=self._fence_floor), urgent=True
        )

    async def start(self, node_id: str, refs: Sequence[Ref], now: float, grace: float) -> list[Lost]:
        """assigned → running."""
        return await self._writer.submit(lambda tx: finish.start(tx, node_id, refs, now, grace), urgent=True)

    async def complete(
        self, node_id: str, completions: Sequence[Completion], now: float, result_ttl: float
    ) -> list[CompletionOutcome]:
        """Take the ends of attempts."""
        size = sum(len(completion.output) + len(completion.error) for completion in completions)
        return await self._writer.submit(
            lambda tx: finish.complete(tx, node_id, completions, now, result_ttl), urgent=True, size=size
        )

    async def release(self, node_id: str, refs: Sequence[Ref], now: float, result_ttl: float) -> list[Ref]:
        """Take attempts back unrun."""
        return await self._writer.submit(lambda tx: finish.release(tx, node_id, refs, now, result_ttl), urgent=True)

    async def cancel(self, job_id: str, now: float, result_ttl: float, *, node_answers: bool) -> CancelOutcome | None:
        """Cancel; None when unknown."""
        return await self._writer.submit(
            lambda tx: finish.cancel(tx, job_id, now, result_ttl, node_answers=node_answers), urgent=True
        )

    # ---- nodes and time

    async def register(self, registration: Registration, now: float, result_ttl: float) -> tuple[int, list[Ref]]:
        """Begin a session."""
        return await self._writer.submit(lambda tx: nodes.register(tx, registration, now, result_ttl), urgent=True)

    async def save_leases(self, leases: Sequence[NodeLease], now: float) -> None:
        """Write down leases and the clock."""
        await self._writer.submit(lambda tx: nodes.save_leases(tx, leases, now), urgent=True)

    async def set_draining(self, node_id: str, draining: bool, now: float, by: str | None = None) -> None:
        """Remember whether a node may claim."""
        await self._writer.submit(lambda tx: nodes.set_draining(tx, node_id, draining, now, by), urgent=True)

    async def rescue(
        self, node_ids: Sequence[str], now: float, result_ttl: float, why: NodeEventKind = NodeEventKind.SILENT
    ) -> list[Ref]:
        """Take everything away from lost nodes."""
        return await self._writer.submit(lambda tx: nodes.lose(tx, node_ids, now, result_ttl, why), urgent=True)

    async def sweep(self, now: float, policy: SweepPolicy, hopeless: frozenset[str]) -> Swept:
        """Do what the time asks for."""
        return await self._writer.submit(lambda tx: sweep.sweep(tx, now, policy, hopeless), urgent=True)

    async def reject_class(self, class_key: str, before: float, now: float, policy: SweepPolicy) -> int:
        """End pending jobs of a class that nobody could run."""
        return await self._writer.submit(lambda tx: sweep.reject_class(tx, class_key, before, now, policy))

    # ---- files

    async def artifacts(self, job_id: str) -> list[StoredFile]:
        """What the job left, read in the reader's thread: there may be thousands."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._long_reader.artifacts, job_id)

    async def artifact(self, job_id: str, path: str) -> StoredFile | None:
        """One of these."""
        return self._reader.artifact(job_id, path)

    async def input_size(self, job_id: str, sha256: str) -> int | None:
        """The size of a content that the job was submitted with; None when it was not."""
        return self._reader.input_size(job_id, sha256)

    async def referenced(self, names: list[str]) -> set[str]:
        """Which of these contents some row refers to."""
        return self._reader.referenced(names)

    async def drop_spent_inputs(self) -> int:
        """Drop uploads of ended jobs."""
        return await self._writer.submit(files.drop_spent_inputs)

    async def drop_artifacts(self, wanted_bytes: int) -> int:
        """Drop artifacts of the jobs that ended first."""
        return await self._writer.submit(lambda tx: files.drop_artifacts(tx, wanted_bytes))

    # ---- reading

    async def job(self, job_id: str) -> Job | None:
        """A job without input and output."""
        return self._reader.job(job_id)

    async def result(self, job_id: str) -> Result | None:
        """A job with its output."""
        return self._reader.result(job_id)

    async def job_input(self, job_id: str) -> JobInput | None:
        """A job with what was submitted."""
        return self._reader.job_input(job_id)

    async def was_deleted(self, job_id: str) -> bool:
        """Whether the job ended and was deleted after RESULT_TTL."""
        return self._reader.was_deleted(job_id)

    async def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""
        return self._reader.attempts(job_id)

    async def histories(self, job_ids: Sequence[str]) -> list[History]:
        """The lives of some ended jobs, read in the reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._long_reader.histories, job_ids)

    async def list_jobs(self, wanted: JobFilter) -> tuple[list[Job], int | None]:
        """A page of jobs, read in a thread that does nothing else: a rare filter may walk far."""
        if self._listings >= MAX_LISTINGS:
            raise OverloadedError("Too many lists of jobs are being read: try again later.")
        self._listings += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._list_threads, self._lister.list_jobs, wanted)
        finally:
            self._listings -= 1

    async def ahead(self, class_key: str, rank: float, seq: int, most: int) -> int:
        """How many claimable jobs come before a place in a class, counted up to `most`: 0.1 µs each."""
        return self._reader.ahead(class_key, rank, seq, most)

    async def whose_ahead(self, class_key: str, rank: float, seq: int, most: int) -> dict[str | None, int]:
        """Whose the first `most` of these are."""
        return self._reader.whose_ahead(class_key, rank, seq, most)

    async def leader(self, job_id: str) -> tuple[str, JobStatus] | None:
        """The identical job whose end this one waits for."""
        return self._reader.leader(job_id)

    async def request_of(self, job_id: str) -> str | None:
        """The id of the call that submitted a job."""
        return self._reader.request_of(job_id)

    async def details(self, job_id: str) -> str | None:
        """What a result says beside the output."""
        return self._reader.details(job_id)

    async def held_by(self, node_id: str) -> list[HeldAttempt]:
        """The attempts that a node holds."""
        return self._reader.held_by(node_id)

    async def why_lost(self, job_id: str) -> Lost:
        """Why an attempt that a node lists is not its own."""
        return self._reader.why_lost(job_id)

    async def nodes(self) -> list[Node]:
        """All nodes, the longest known first."""
        return self._reader.nodes()

    async def node_counters(self) -> dict[str, tuple[int, int]]:
        """Node id -> jobs that it completed, and failed."""
        return self._reader.node_counters()

    def load(self) -> StoreLoad:
        """What there is to do, and how long that takes."""
        writer = self._writer
        disk = os.statvfs(self._database.parent)
        return StoreLoad(
            waiting=writer.waiting,
            waiting_bytes=writer.waiting_bytes,
            most_waiting=self._max_queued,
            refused=writer.refused_groups,
            commits=writer.commits,
            operations=writer.operations,
            database_bytes=_size(self._database),
            log_bytes=_size(self._database.with_name(self._database.name + "-wal")),
            free_bytes=disk.f_bavail * disk.f_frsize,
            backed_up_at=_changed_at(stamp_of(self._database)),
        )

    def trouble(self) -> str | None:
        """What the database said when it last refused a change."""
        return self._writer.trouble

    def alive(self) -> bool:
        """Whether changes can be taken, now or later."""
        return self._writer.alive

    def totals(self) -> dict[str, int]:
        """Status -> number of jobs."""
        return {status.value: self._totals[status] for status in JobStatus}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # there is no log before the first change


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None
