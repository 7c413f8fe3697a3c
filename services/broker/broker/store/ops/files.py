"""Rows about files: what jobs were submitted with and left, and what goes when there is no more room."""

import json
from collections.abc import Iterable

from broker.store.records.job import StoredFile
from broker.store.sql import files
from broker.store.transaction import Transaction, id_list

__all__ = ["add_artifacts", "add_inputs", "drop_artifacts", "drop_spent_inputs", "forget"]

JOBS_AT_A_TIME = 200
"""Jobs that one operation takes files from, so that no other waits long for it."""


def add_inputs(tx: Transaction, seq: int, inputs: Iterable[StoredFile]) -> None:
    """Note what a job was submitted with."""
    _add(tx, seq, "input", inputs)


def add_artifacts(tx: Transaction, seq: int, artifacts: Iterable[StoredFile]) -> None:
    """Note what a job left."""
    _add(tx, seq, "artifact", artifacts)


def _add(tx: Transaction, seq: int, kind: str, given: Iterable[StoredFile]) -> None:
    for file in given:
        row = {"path": file.path, "sha256": file.sha256, "size": file.size, "mime": file.mime}
        tx.run(files.INSERT, {"seq": seq, "kind": kind, **row})


def forget(tx: Transaction, seqs: str) -> None:
    """Drop all files of jobs (a JSON list of their numbers) that are being deleted."""
    tx.changes.released.update(row[0] for row in tx.rows(files.DELETE, {"seqs": seqs}))


def drop_spent_inputs(tx: Transaction) -> int:
    """Drop the inputs of jobs that have ended; the answer is how many rows."""
    jobs = tx.rows(files.SPENT_INPUTS, {"limit": JOBS_AT_A_TIME})
    if not jobs:
        return 0
    dropped = tx.rows(files.DELETE_INPUTS, {"seqs": id_list(row[0] for row in jobs)})
    tx.changes.released.update(row[0] for row in dropped)
    return len(dropped)


def drop_artifacts(tx: Transaction, wanted_bytes: int) -> int:
    """Drop the artifacts of the jobs that ended first until so many bytes are let go of; each such job says so.

    The answer is how many bytes these artifacts have; contents that other jobs share stay on the disk.
    """
    dropped = 0
    for seq, size in tx.rows(files.OLDEST_ARTIFACTS, {"limit": JOBS_AT_A_TIME}):
        if dropped >= wanted_bytes:
            break
        gone = tx.rows(files.DELETE_ARTIFACTS, {"at_seq": seq})
        tx.changes.released.update(sha256 for _, _, sha256 in gone)
        tx.run(files.NO_ANSWER, {"at_seq": seq})
        row = tx.row(files.DETAILS, {"at_seq": seq})
        details = json.loads(row[0]) if row and row[0] else {}
        details.setdefault("artifacts_dropped", []).extend(
            {"path": path, "size": count, "reason": "evicted"} for path, count, _ in gone
        )
        tx.run(files.SET_DETAILS, {"at_seq": seq, "new_details": json.dumps(details)})
        dropped += size
    return dropped
