"""Short reads on a query-only connection, done right where they are asked for.

A point read by primary or unique key takes 10 to 30 µs, less than handing it to a thread; the event loop owns this
connection. Listings can be long and go through a thread with a connection of its own.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from broker.domain.words import AttemptOutcome, Failure, JobStatus, LostReason
from broker.store.ops.finish import why_lost
from broker.store.records.attempt import Attempt, HeldAttempt, Lost
from broker.store.records.history import History, Part
from broker.store.records.job import Job, JobFilter, JobInput, Result, StoredFile
from broker.store.records.node import Node
from broker.store.sql import files, history, reads
from broker.store.transaction import Row, id_list

__all__ = ["Reader", "attempt_of"]

_JOB_NAMES = tuple(column.name for column in reads.JOB_COLUMNS)
_JOB_WIDTH = len(_JOB_NAMES)


class Reader:
    """Reads committed data. Not for use by two threads at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def job(self, job_id: str) -> Job | None:
        """See Store.job."""
        row = self._one(reads.JOB, job_id=job_id)
        return _job(row) if row else None

    def result(self, job_id: str) -> Result | None:
        """See Store.result."""
        row = self._one(reads.RESULT, job_id=job_id)
        if row is None:
            return None
        output, error, *rest = row[_JOB_WIDTH:]
        return Result(_job(row[:_JOB_WIDTH]), output or "", error or "", *rest)

    def artifacts(self, job_id: str) -> list[StoredFile]:
        """See Store.artifacts."""
        return [StoredFile(*row) for row in self._all(files.ARTIFACTS, job_id=job_id)]

    def artifact(self, job_id: str, path: str) -> StoredFile | None:
        """See Store.artifact."""
        row = self._one(files.ONE_ARTIFACT, job_id=job_id, wanted=path)
        return StoredFile(*row) if row else None

    def input_size(self, job_id: str, sha256: str) -> int | None:
        """See Store.input_size."""
        row = self._one(files.ONE_INPUT, job_id=job_id, wanted=sha256)
        return row[0] if row else None

    def referenced(self, names: list[str]) -> set[str]:
        """See Store.referenced."""
        return {name for (name,) in self._all(files.REFERENCED, names=json.dumps(names))}

    def job_input(self, job_id: str) -> JobInput | None:
        """See Store.job_input."""
        row = self._one(reads.INPUT, job_id=job_id)
        if row is None:
            return None
        code, spec, retry_on, dedupe_key = row[_JOB_WIDTH:]
        return JobInput(_job(row[:_JOB_WIDTH]), code, spec, retry_on, dedupe_key is not None)

    def was_deleted(self, job_id: str) -> bool:
        """See Store.was_deleted."""
        return self._one(reads.TOMBSTONE, job_id=job_id) is not None

    def attempts(self, job_id: str) -> list[Attempt]:
        """See Store.attempts."""
        return [attempt_of(row) for row in self._all(reads.ATTEMPTS, job_id=job_id)]

    def histories(self, job_ids: Sequence[str]) -> list[History]:
        """See Store.histories."""
        jobs = self._all(history.HISTORIES, ids=json.dumps(list(job_ids)))
        parts: dict[int, list[Part]] = {}
        for seq, *part in self._all(history.PARTS, seqs=id_list(row[0] for row in jobs)):
            parts.setdefault(seq, []).append(Part(*part))
        return [
            History._make((*known, copied is not None, request_id, tuple(parts.get(seq, ()))))
            for seq, *known, copied, request_id in jobs
        ]

    def ahead(self, class_key: str, rank: float, seq: int, most: int) -> int:
        """See Store.ahead."""
        found = self._all(reads.COUNT_AHEAD, class_key=class_key, rank=rank, seq=seq, most=most)
        return int(found[0][0])

    def whose_ahead(self, class_key: str, rank: float, seq: int, most: int) -> dict[str | None, int]:
        """See Store.whose_ahead."""
        return dict(self._all(reads.WHOSE_AHEAD, class_key=class_key, rank=rank, seq=seq, most=most))

    def leader(self, job_id: str) -> tuple[str, JobStatus] | None:
        """See Store.leader."""
        row = self._one(reads.LEADER, job_id=job_id)
        return (row[0], JobStatus(row[1])) if row else None

    def request_of(self, job_id: str) -> str | None:
        """See Store.request_of."""
        row = self._one(reads.REQUEST_OF, job_id=job_id)
        return row[0] if row else None

    def details(self, job_id: str) -> str | None:
        """See Store.details."""
        row = self._one(reads.RESULT_DETAILS, job_id=job_id)
        return row[0] if row else None

    def list_jobs(self, wanted: JobFilter) -> tuple[list[Job], int | None]:
        """See Store.list_jobs."""
        name, value = wanted.label or (None, None)
        rows = self._all(
            reads.LIST if wanted.owner is None else reads.LIST_OWN,
            owner=wanted.owner,
            before=wanted.before if wanted.before is not None else 2**62,
            status=wanted.status.value if wanted.status else None,
            submitter=wanted.submitter,
            interpreter=wanted.interpreter,
            failure=wanted.failure.value if wanted.failure else None,
            node_id=wanted.node_id,
            text=None if wanted.text is None else f"%{_like(wanted.text)}%",
            text_start=None if wanted.text is None else f"{_like(wanted.text)}%",
            label_path=None if name is None else f"$.{json.dumps(name)}",
            label_value=value,
            limit=wanted.limit,
        )
        cursor = rows[-1][_JOB_WIDTH - 1] if len(rows) == wanted.limit else None
        return [_job(row) for row in rows], cursor

    def held_by(self, node_id: str) -> list[HeldAttempt]:
        """See Store.held_by."""
        return [
            HeldAttempt(job_id, fence, number, cancel is not None)
            for job_id, fence, number, cancel in self._all(reads.HELD_BY, node_id=node_id)
        ]

    def why_lost(self, job_id: str) -> Lost:
        """See Store.why_lost."""
        row = self._one(reads.STATE_OF, job_id=job_id)
        if row is None:
            return Lost(job_id, 0, LostReason.UNKNOWN)
        status, fence, failure = row
        return Lost(job_id, fence, why_lost(JobStatus(status), failure))

    def nodes(self) -> list[Node]:
        """See Store.nodes."""
        held: dict[str, int] = dict(self._all(reads.HELD_COUNTS))
        return [_node(row, held) for row in self._all(reads.NODES)]

    def node_counters(self) -> dict[str, tuple[int, int]]:
        """See Store.node_counters."""
        return {node_id: (completed, failed) for node_id, completed, failed in self._all(reads.NODE_COUNTERS)}

    def _one(self, sql: str, **parameters: Any) -> Row | None:
        rows = self._all(sql, **parameters)
        return rows[0] if rows else None

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """All rows of a short read."""
        return self._all(sql, **parameters)

    def _all(self, sql: str, **parameters: Any) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()


def _like(text: str) -> str:
    """A text as a pattern of LIKE that finds just it."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _job(row: Row) -> Job:
    values = dict(zip(_JOB_NAMES, row, strict=True))
    failure, labels = values["failure"], values["labels"]
    values["status"] = JobStatus(values["status"])
    values["failure"] = Failure(failure) if failure else None
    values["labels"] = json.loads(labels) if labels else {}
    values["follows"] = values["follows"] is not None
    values["cached"] = values.pop("result_of") is not None
    values["cancel_requested"] = values.pop("cancel_requested_at") is not None
    return Job(**values)


def attempt_of(row: Sequence[Any]) -> Attempt:
    """From the columns that reads.ATTEMPTS and nodes.ATTEMPTS_OF_NODE end with."""
    number, fence, node_id, session, claimed, started, ended, outcome, failure, *measured = row
    return Attempt(
        number,
        fence,
        node_id,
        session,
        claimed,
        started,
        ended,
        AttemptOutcome(outcome) if outcome else None,
        Failure(failure) if failure else None,
        *measured,
    )


def _node(row: Row, held: dict[str, int]) -> Node:
    values = dict(zip(reads.NODE_COLUMNS, row, strict=True))
    values["capabilities"] = json.loads(values["capabilities"])
    values["draining"] = bool(values["draining"])
    return Node(**values, held=held.get(values["id"], 0))
