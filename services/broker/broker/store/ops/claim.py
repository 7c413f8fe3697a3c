"""Handing jobs to a node."""

from collections import Counter
from dataclasses import replace

from broker.domain.barring import barred_from, base_of
from broker.domain.words import JobStatus
from broker.store.changes import Step
from broker.store.ops.sweep import promote
from broker.store.records.attempt import ClaimedJob, ClaimGrant, ClaimRequest
from broker.store.sql import life
from broker.store.transaction import Row, Transaction, id_list

__all__ = ["claim"]

ANSWER_CHARS = 16 * 1024 * 1024
"""Code and files in one answer, unless a single job has more."""


def claim(
    tx: Transaction, request: ClaimRequest, now: float, *, promote_first: bool, fence_floor: int = 0
) -> ClaimGrant:
    """Give the node the first jobs of the classes that it can run, up to its wish and its capacity.

    `promote_first`: some waiting job's time may have come since the last sweep. `fence_floor`: the lowest fence to give
    (adr/0018).
    """
    if promote_first and promote(tx, now):
        request = replace(request, bounds=())  # they were taken before these jobs were claimable
    if request.session_number is not None:
        # A claim may cross its successor's register: nobody would know of what it got.
        present = tx.row(life.PRESENT_SESSION, {"node_id": request.node_id})
        if present is None or present[0] != request.session_number:
            return ClaimGrant((), ended=True)
    if request.claim_number is not None:
        before = tx.rows(life.GRANTED_BEFORE, {"node_id": request.node_id, "number": request.claim_number})
        if before:
            return ClaimGrant(_with_inputs(tx, before), repeated=True)
    wanted = request.max_jobs
    if request.capacity is not None:
        held = tx.rows(life.COUNT_HELD, {"node_id": request.node_id})[0][0]
        wanted = min(wanted, request.capacity - held)
        if wanted <= 0:
            return ClaimGrant((), full=True)
    seqs = _choose(tx, request, wanted)
    if not seqs:
        return ClaimGrant(())
    return _assign(tx, request, seqs, now, fence_floor)


def _choose(tx: Transaction, request: ClaimRequest, wanted: int) -> list[int]:
    """The rows to hand out, best rank first; among equals the class that prefers this node, then the older job.

    Classes are looked at in the order of their bounds, until the next bound is beyond what has been found: the work
    does not grow with the number of classes.
    """
    bounds = request.bounds or (float("-inf"),) * len(request.class_keys)
    heads: list[tuple[float, int, int, str]] = []
    seen: dict[str, list[float]] = {}
    for bound, place, class_key in sorted(zip(bounds, range(len(bounds)), request.class_keys, strict=True)):
        if len(heads) >= wanted and bound > heads[wanted - 1][0]:
            break
        if request.node_id in barred_from(class_key):
            continue
        rows = tx.rows(life.READY_HEADS, {"class_key": class_key, "limit": wanted})
        seen[class_key] = [rank for _, rank in rows]
        heads += [(rank, place, seq, class_key) for seq, rank in rows]
        heads.sort()
    taken = heads[: _fitting(tx, [seq for _, _, seq, _ in heads[:wanted]])]
    _report(tx, seen, Counter(class_key for _, _, _, class_key in taken), wanted)
    return [seq for _, _, seq, _ in taken]


def _report(tx: Transaction, seen: dict[str, list[float]], taken: Counter[str], limit: int) -> None:
    """Tell what is left of each class that was looked at: nothing, or a bound."""
    for class_key, ranks in seen.items():
        count = taken[class_key]
        if count < len(ranks):
            tx.changes.bounds[class_key] = ranks[count]
        elif len(ranks) < limit:
            tx.changes.drained.add(class_key)
        else:
            tx.changes.bounds[class_key] = ranks[-1]


def _fitting(tx: Transaction, seqs: list[int]) -> int:
    """How many of the first jobs fit one answer; always one."""
    if len(seqs) < 2:
        return len(seqs)
    sizes: dict[int, int] = dict(tx.rows(life.INPUT_SIZES, {"seqs": id_list(seqs)}))
    total = 0
    for count, seq in enumerate(seqs):
        total += sizes[seq]
        if count and total > ANSWER_CHARS:
            return count
    return len(seqs)


def _assign(tx: Transaction, request: ClaimRequest, seqs: list[int], now: float, fence_floor: int) -> ClaimGrant:
    rows = tx.rows(
        life.ASSIGN,
        {
            "seqs": id_list(seqs),
            "node": request.node_id,
            "number": request.claim_number,
            "fence_floor": fence_floor,
            "now": now,
            "slack": request.deadline_slack,
        },
    )
    tx.run(life.OPEN_ATTEMPTS, {"seqs": id_list(row[0] for row in rows), "now": now})
    order = {seq: place for place, seq in enumerate(seqs)}
    rows.sort(key=lambda row: order[row[0]])
    tx.changes.holds(request.node_id, len(rows))
    for _, job_id, _, _, attempt, fence, class_key, rank, priority, whose, created_at, owner in rows:
        waited = now - created_at if attempt == 1 else None
        base = base_of(class_key)
        of_job = (job_id, JobStatus.PENDING, JobStatus.ASSIGNED, base, priority, waited, None, owner, whose)
        tx.changes.stepped(Step(*of_job, request.node_id, fence, attempt))
        tx.changes.pending((whose, priority), -1)
        tx.changes.granted.append((base, rank, priority))
    return ClaimGrant(_with_inputs(tx, rows), classes=frozenset(row[6] for row in rows))


def _with_inputs(tx: Transaction, rows: list[Row]) -> tuple[ClaimedJob, ...]:
    inputs = {seq: rest for seq, *rest in tx.rows(life.INPUTS, {"seqs": id_list(row[0] for row in rows)})}
    return tuple(
        ClaimedJob(job_id, interpreter, timeout, attempt, fence, *inputs[seq])
        for seq, job_id, interpreter, timeout, attempt, fence, *_ in rows
    )
