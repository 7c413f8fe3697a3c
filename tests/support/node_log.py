"""What real agents logged: the nodes' side of a history that was made in containers.

An agent logs every attempt's end with job and fence, and what the broker answered to each result (level debug). The
auditor holds that against the broker's rows: nobody but the node that the row names has had the attempt, and what the
broker acknowledged is in its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from support.lease_rows import Violation
from support.records import Records

Line = dict[str, Any]


class NodeLog:
    """The lines of one node container, over all its restarts."""

    def __init__(self, text: str) -> None:
        self.lines: list[Line] = list(_objects(text))
        self.node_ids = {str(line["node"]) for line in self.lines if line.get("event") == "registered"}

    def about(self, job_id: str, *, fence: int) -> list[Line]:
        """What it logged of this attempt."""
        return [line for line in self.lines if (line.get("job"), line.get("fence")) == (job_id, fence)]


def judge_logs(rows: Records, logs: Iterable[NodeLog]) -> Iterator[Violation]:
    """Every contradiction between what nodes logged and what the broker keeps."""
    for log in logs:
        for line in log.lines:
            if line.get("event") == "thread_crashed":
                yield "-", f"an agent's thread crashed: {line}"
            if "job" in line and "fence" in line:
                yield from _judge(rows, log, line)


def _judge(rows: Records, log: NodeLog, line: Line) -> Iterator[Violation]:
    ref = (str(line["job"]), int(line["fence"]))
    attempt = rows.attempts.get(ref)
    if attempt is None:
        if ref[0] in rows.jobs:
            yield "f", f"{log.node_ids} had attempt {ref}, which has no row"
        return
    if attempt["node_id"] not in log.node_ids:
        yield "c", f"{log.node_ids} had attempt {ref}, which was {attempt['node_id']}'s"
    if line["event"] != "result_delivered":
        return
    if line.get("answer") == "ok" and attempt["outcome"] in (None, "node_lost", "released"):
        yield "f", f"the result of {ref} was acknowledged, its attempt is {attempt['outcome']}"


def _objects(text: str) -> Iterator[Line]:
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # uvicorn's lines, and one that a kill cut short
        if isinstance(value, dict):
            yield value
