"""The broker's own rows, read from its file for the auditor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

Ref = tuple[str, int]
"""(job id, fence): names one attempt."""
Row = dict[str, Any]


class Records:
    """The broker's rows, read once. `attempts` are keyed by (job id, fence)."""

    def __init__(self, database: Path) -> None:
        # Not mode=ro: after a kill the write-ahead log has to be recovered first, which a read-only connection cannot.
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")  # one snapshot for all tables
            rows = [dict(row) for row in connection.execute("SELECT * FROM job_states")]
            self.jobs: dict[str, Row] = {row["id"]: row for row in rows}
            ids = {row["seq"]: row["id"] for row in rows}
            results = {row["seq"]: row["output"] for row in connection.execute("SELECT seq, output FROM job_results")}
            self.outputs = {ids[seq]: output for seq, output in results.items() if seq in ids}
            self.attempts: dict[Ref, Row] = {}
            self.orphans = 0
            for row in connection.execute("SELECT * FROM attempts"):
                if row["seq"] in ids:
                    self.attempts[ids[row["seq"]], row["fence"]] = dict(row)
                else:
                    self.orphans += 1
            self.nodes = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM nodes")}
            self.buried = {row["id"] for row in connection.execute("SELECT id FROM tombstones")}
            self.integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
