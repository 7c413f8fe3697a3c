"""What the store keeps of the past of nodes."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from broker.domain.words import JobStatus, NodeEventKind
from broker.store.ops import node_events
from broker.store.reader import Reader, attempt_of
from broker.store.records.node import HeldByNode, NodeAttempt, NodeEvent
from broker.store.sql import nodes
from broker.store.transaction import Transaction
from broker.store.writer import GroupWriter

__all__ = ["NodeLog", "Place", "SqliteNodeLog"]

Place = tuple[float, int, int]
"""Where a list of attempts goes on: behind this one."""
NEWEST: Place = (9e15, 0, 0)
LOOKED_AT = 2_000
"""Attempts that are looked at for those of one owner, before the page ends as it is."""


class NodeLog(Protocol):
    """Part of a Store."""

    async def note(self, events: Sequence[NodeEvent]) -> None:
        """Keep what happened, where no other change keeps it."""
        ...

    async def events(self, node_id: str) -> list[NodeEvent]:
        """What happened to a node, the newest first: the last of it."""
        ...

    async def held(self, node_id: str, limit: int) -> list[HeldByNode]:
        """The attempts that a node holds."""
        ...

    async def attempts(
        self, node_id: str, owner: str | None, behind: Place | None, limit: int
    ) -> tuple[list[NodeAttempt], Place | None]:
        """Attempts that a node had, the newest first, of one owner's jobs or (None) of all; and where the list goes on.
        A page may have fewer than `limit` and still go on."""
        ...


class SqliteNodeLog:
    """See NodeLog. Shares the store's writer, and its connection for short reads; `long` is for its thread."""

    def __init__(self, writer: GroupWriter, reader: Reader, long: Reader, threads: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._reader = reader
        self._long = long
        self._threads = threads

    async def note(self, events: Sequence[NodeEvent]) -> None:
        """Keep what happened."""

        def keep(tx: Transaction) -> None:
            for event in events:
                node_events.note(tx, event)

        await self._writer.submit(keep, urgent=True)

    async def events(self, node_id: str) -> list[NodeEvent]:
        """What happened to a node."""
        rows = self._reader.rows(nodes.EVENTS, node_id=node_id, limit=node_events.KEPT)
        return [NodeEvent(name, at, NodeEventKind(kind), *rest) for name, at, kind, *rest in rows]

    async def held(self, node_id: str, limit: int) -> list[HeldByNode]:
        """The attempts that a node holds."""
        rows = self._reader.rows(nodes.HELD_OF_NODE, node_id=node_id, limit=limit)
        return [
            HeldByNode(job_id, owner, JobStatus(status), fence, attempt, claimed, started, deadline, cancel is not None)
            for job_id, owner, status, fence, attempt, claimed, started, deadline, cancel in rows
        ]

    async def attempts(
        self, node_id: str, owner: str | None, behind: Place | None, limit: int
    ) -> tuple[list[NodeAttempt], Place | None]:
        """Attempts that a node had, read in the reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, node_id, owner, behind or NEWEST, limit)

    def _read(
        self, node_id: str, owner: str | None, behind: Place, limit: int
    ) -> tuple[list[NodeAttempt], Place | None]:
        at, seq, fence = behind
        looked_at = limit if owner is None else LOOKED_AT
        rows = self._long.rows(nodes.ATTEMPTS_OF_NODE, node_id=node_id, at=at, seq=seq, fence=fence, limit=looked_at)
        found: list[NodeAttempt] = []
        for count, (row_seq, job_id, whose, *attempt) in enumerate(rows, 1):
            if owner in (None, whose):
                found.append(NodeAttempt(job_id, attempt_of(attempt)))
            if len(found) == limit and count < len(rows):
                return found, (found[-1].attempt.claimed_at, row_seq, found[-1].attempt.fence)
        if len(rows) < looked_at:
            return found, None
        last_seq, _, _, *last = rows[-1]
        return found, (last[4], last_seq, last[1])
