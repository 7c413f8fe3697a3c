"""What the broker's own attempts say about leases, judged without a word from the nodes.

Every handing of a job to a node is a row with its beginning and its end on the broker's clock, which never steps back.
So the rows alone show two nodes holding one job at a time, a fence used twice or left out, and a node given too much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from support.records import Records

Violation = tuple[str, str]
"""(invariant's letter, what is wrong)."""


def judge_leases(rows: Records) -> Iterator[Violation]:
    """Every violation that the attempts show."""
    yield from _one_holder(rows)
    yield from _bounded_by_slots(rows)


FROM_THE_CLOCK = 10**15
"""Fences from here on were given out after a start of the broker, and leave a gap before them (adr/0018)."""


def _one_holder(rows: Records) -> Iterator[Violation]:
    fences: dict[str, list[int]] = defaultdict(list)
    for job_id, fence in rows.attempts:
        fences[job_id].append(fence)
    for job_id, row in rows.jobs.items():
        used = sorted(fences[job_id])
        gaps = [later for earlier, later in pairwise([0, *used]) if later != earlier + 1 and later < FROM_THE_CLOCK]
        if gaps or (used or [0])[-1] != row["fence"]:
            yield "c", f"{job_id} is at fence {row['fence']}, its attempts have {used}"
        for earlier, later in pairwise(used):
            ended, claimed = rows.attempts[job_id, earlier]["ended_at"], rows.attempts[job_id, later]["claimed_at"]
            if ended is None or ended > claimed:
                yield "c", f"{job_id}: attempt {later} was granted at {claimed}, attempt {earlier} ended at {ended}"


def _bounded_by_slots(rows: Records) -> Iterator[Violation]:
    """Counted over time: ends before grants of the same moment, as one commit does both."""
    changes: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for attempt in rows.attempts.values():
        session = (attempt["node_id"], attempt["session_number"])
        changes[session].append((attempt["claimed_at"], 1))
        if attempt["ended_at"] is not None:
            changes[session].append((attempt["ended_at"], -1))
    for (node_id, number), moments in changes.items():
        node = rows.nodes.get(node_id)
        if node is None or node["slots"] is None or node["session_number"] != number:
            continue  # what an earlier session or a forgotten node offered is not known any more
        held = most = 0
        for _, change in sorted(moments):
            held += change
            most = max(most, held)
        if most > 2 * node["slots"]:
            yield "g", f"{node['name']} with {node['slots']} slots held {most} attempts at a time"
