"""The hot paths' statements use their indexes and never sort or scan a table, at a depth where it would matter."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker.store.migrate import migrate
from broker.store.sql import history, life, nodes, reads, upkeep, webhooks

DEPTH = 20_000
"""Jobs in the table: a fifth each of pending, waiting, held, completed and failed."""

_FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :depth - 1)
INSERT INTO job_states (id, status, interpreter, class_key, priority, rank, timeout, max_retries, retry_on, created_at,
    attempt, losses, reruns, fence, run_at, node_id, deadline_at, failure, completed_at, expires_at, dedupe_key)
SELECT 'job-' || i,
    CASE i % 5 WHEN 2 THEN 'assigned' WHEN 3 THEN 'completed' WHEN 4 THEN 'failed' ELSE 'pending' END,
    'python3', 'class-' || (i % 20), 5, i, 60, 3, '', 0, 0, 0, 0, 1,
    CASE i % 5 WHEN 1 THEN 1e9 + i END, CASE i % 5 WHEN 2 THEN 'node-' || (i % 100) END,
    CASE i % 5 WHEN 2 THEN 1e9 END, CASE i % 5 WHEN 4 THEN 'exit' END,
    CASE WHEN i % 5 > 2 THEN 1.0 END, CASE WHEN i % 5 > 2 THEN 1e9 + i END, CASE i % 5 WHEN 3 THEN 'dedupe-' || i END
FROM n
"""

EXPECTED = {
    "claim: heads of a class": (life.READY_HEADS, "job_ready"),
    "traces: jobs that ended": (history.HISTORIES, "sqlite_autoindex_job_states_1"),
    "claim: what a node holds": (life.COUNT_HELD, "job_held"),
    "claim: a repeated number": (life.GRANTED_BEFORE, "job_held"),
    "complete: the job": (life.JUDGE_ONE, "sqlite_autoindex_job_states_1"),
    "rescue: what a node holds": (life.JUDGE_HELD_BY, "job_held"),
    "sweep: overdue": (life.JUDGE_OVERDUE, "job_overdue"),
    "sweep: given up": (life.JUDGE_GIVEN_UP, "job_give_up"),
    "sweep: cancelled": (life.JUDGE_CANCELLED, "job_cancel"),
    "sweep: promote": (upkeep.PROMOTE, "job_due"),
    "sweep: next due": (upkeep.NEXT_DUE, "job_due"),
    "sweep: expired": (upkeep.EXPIRED, "job_expiry"),
    "sweep: webhooks": (webhooks.DELETE_OF_JOBS, "webhook_job"),
    "webhooks: whose job has gone": (webhooks.DELETE_LEFT, "sqlite_autoindex_job_states_1"),
    "webhooks: owed": (webhooks.OWED, "webhook_owed"),
    "webhooks: looked at": (webhooks.PAGE, "sqlite_autoindex_job_states_1"),
    "submit: a cached success": (life.CACHED_SUCCESS, "job_dedupe"),
    "submit: a twin under way": (life.RUNNING_TWIN, "job_single_flight"),
    "end: followers": (life.FOLLOWERS, "job_followers"),
    "start": (life.START, "sqlite_autoindex_job_states_1"),
    "status: how many are ahead": (reads.COUNT_AHEAD, "job_ready"),
    "status: the identical job": (reads.LEADER, "sqlite_autoindex_job_states_1"),
    "status: what a result says": (reads.RESULT_DETAILS, "sqlite_autoindex_job_states_1"),
    "status": (reads.JOB, "sqlite_autoindex_job_states_1"),
    "results": (reads.RESULT, "sqlite_autoindex_job_states_1"),
    "heartbeat": (reads.HELD_BY, "job_held"),
    "nodes": (reads.HELD_COUNTS, "job_held"),
    "node: what happened": (nodes.EVENTS, "node_event"),
    "node: what it holds": (nodes.HELD_OF_NODE, "job_held"),
    "node: attempts": (nodes.ATTEMPTS_OF_NODE, "attempt_node"),
    "node: only so many events": (nodes.TRIM_EVENTS, "node_event"),
    "node: forgotten": (nodes.FORGET_EVENTS, "node_event"),
    "jobs: one's own": (reads.LIST_OWN, "job_owner"),
    "start: pending classes": (upkeep.PENDING_CLASSES, "job_ready"),
}
BY_ROW = {
    "claim: assign": life.ASSIGN,
    "claim: inputs": life.INPUTS,
    "claim: input sizes": life.INPUT_SIZES,
    "claim: open attempts": life.OPEN_ATTEMPTS,
    "end": life.END_HELD,
    "requeue": life.REQUEUE,
    "delete": upkeep.DELETE_STATES,
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "broker.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_FILL, {"depth": DEPTH})
        connection.commit()
        yield connection


def plan(database: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql), 1) | {
        "seqs": "[1]",
        "ids": '["job-1"]',
        "job_ids": '["job-1"]',
    }
    return [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + sql, parameters)]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_statement_uses_its_index(database: sqlite3.Connection, name: str) -> None:
    sql, index = EXPECTED[name]
    steps = plan(database, sql)
    assert any(f"INDEX {index}" in step for step in steps), steps
    assert not any("USE TEMP B-TREE" in step for step in steps), steps


@pytest.mark.parametrize("name", sorted(BY_ROW))
def test_statement_goes_to_its_rows(database: sqlite3.Connection, name: str) -> None:
    steps = plan(database, BY_ROW[name])
    assert any(re.search(r"SEARCH (job_states|job_inputs) USING INTEGER PRIMARY KEY", step) for step in steps), steps
    assert not any(re.fullmatch(r"SCAN (job_states|job_inputs|attempts)", step) for step in steps), steps


def steps_of(database: sqlite3.Connection, sql: str, parameters: dict[str, object]) -> tuple[int, list[Any]]:
    """How many steps of the virtual machine a statement takes, and its rows."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    database.set_progress_handler(tick, 1)
    rows = database.execute(sql, parameters).fetchall()
    database.set_progress_handler(None, 0)
    return count, rows


def test_counting_who_is_ahead_ends_at_its_bound(database: sqlite3.Connection) -> None:
    place = {"class_key": "class-0", "rank": DEPTH, "seq": 0}
    whole, rows = steps_of(database, reads.COUNT_AHEAD, {**place, "most": DEPTH})
    assert rows[0][0] == DEPTH / 20, "the whole class is pending"
    few, rows = steps_of(database, reads.COUNT_AHEAD, {**place, "most": 10})
    assert rows[0][0] == 10
    assert few < 200 < whole
    near, rows = steps_of(database, reads.COUNT_AHEAD, {**place, "rank": 100, "most": DEPTH})
    assert (rows[0][0], near < 200) == (5, True)
    sample, rows = steps_of(database, reads.WHOSE_AHEAD, {**place, "most": 10})
    assert (sum(row[1] for row in rows), sample < 500) == (10, True)


def test_claim_reads_as_many_rows_as_it_wants(database: sqlite3.Connection) -> None:
    """No row is passed over: the work of a claim does not grow with the depth of its class."""
    steps: list[int] = []
    for limit in (1, 64):
        count, rows = steps_of(database, life.READY_HEADS, {"class_key": "class-0", "limit": limit})
        assert len(rows) == limit
        steps.append(count)
    assert steps[0] < 40, "virtual machine steps for one row"
    assert steps[1] < 40 + 63 * 15, "and for 64"
