"""What happens because time passes: jobs come due, run over, expire; results are deleted; silent nodes are rescued."""

import json
from collections.abc import Iterable

from broker.domain.barring import barred_from
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.store.changes import Owned
from broker.store.ops import files, node_events
from broker.store.ops.ending import Judged, end_pending, settle
from broker.store.records.attempt import Ref
from broker.store.records.upkeep import SweepPolicy, Swept
from broker.store.sql import life, upkeep, webhooks
from broker.store.transaction import Transaction, id_list

__all__ = ["promote", "reject_class", "rescue", "sweep"]

PROMOTE_LIMIT = 1000
"""Jobs that become claimable in one operation."""


def promote(tx: Transaction, now: float) -> int:
    """Make waiting jobs claimable whose time has come."""
    rows = tx.rows(upkeep.PROMOTE, {"now": now, "limit": PROMOTE_LIMIT})
    for class_key, rank in rows:
        tx.changes.claimable(class_key, rank)
    return len(rows)


def rescue(tx: Transaction, node_ids: Iterable[str], now: float, result_ttl: float) -> list[Ref]:
    """Take every attempt away from nodes that are lost, and end their leases."""
    taken = []
    for node_id in node_ids:
        tx.run(upkeep.END_LEASE, {"node": node_id, "now": now})
        for row in tx.rows(life.JUDGE_HELD_BY, {"node_id": node_id}):
            job = Judged.of(row)
            settle(tx, job, AttemptOutcome.NODE_LOST, now, result_ttl)
            taken.append((job.id, job.fence))
    return taken


def reject_class(tx: Transaction, class_key: str, before: float, now: float, policy: SweepPolicy) -> int:
    """End pending jobs of a class that no node could ever run, if they were submitted before a moment."""
    rows = tx.rows(life.JUDGE_CLASS, {"class_key": class_key, "before": before, "limit": policy.limit})
    for row in rows:
        job = Judged.of(row)
        end_pending(tx, job, _for_want_of_a_node(job), now, policy.result_ttl)
    return len(rows)


def _for_want_of_a_node(job: Judged) -> Failure:
    """Why a job ends that no node can run: a verified one may have been run, but not by enough of them."""
    return Failure.VERIFICATION if barred_from(job.class_key) else Failure.REJECTED


def sweep(tx: Transaction, now: float, policy: SweepPolicy, hopeless: frozenset[str]) -> Swept:
    """Do everything whose time has come, up to the policy's limit of each kind.

    `hopeless`: classes that no live node can run; their jobs end for that, not as expired, when their deadline passes.
    """
    promoted = promote(tx, now)
    overdue = _take_back_overdue(tx, now, policy)
    ended = _end_cancelled(tx, now, policy)
    expired = _give_up(tx, now, policy, hopeless)
    # Claims find out when other classes are empty; nobody claims these.
    tx.changes.drained.update(key for key in hopeless if not tx.rows(life.READY_HEADS, {"class_key": key, "limit": 1}))
    deleted = _delete_expired(tx, now, policy)
    tx.run(upkeep.OLD_TOMBSTONES, {"before": now - policy.tombstone_ttl, "limit": policy.limit})
    tx.run(upkeep.OLD_KEYS, {"before": now - policy.idempotency_ttl, "limit": policy.limit})
    forgotten = tuple(row[0] for row in tx.rows(upkeep.FORGET_NODES, {"before": now - policy.node_retention}))
    node_events.forget(tx, forgotten)
    tx.changes.due = tx.rows(upkeep.NEXT_DUE, {})[0][0]
    tx.changes.due_is_earliest = True
    counts = (len(overdue), ended, expired, deleted)
    return Swept(
        promoted=promoted,
        overdue=tuple(overdue),
        expired=expired,
        deleted=deleted,
        forgotten_nodes=forgotten,
        more=promoted >= PROMOTE_LIMIT or any(count >= policy.limit for count in counts),
        next_due=tx.changes.due,
    )


def _take_back_overdue(tx: Transaction, now: float, policy: SweepPolicy) -> list[tuple[str, Ref]]:
    taken = []
    for row in tx.rows(life.JUDGE_OVERDUE, {"now": now, "limit": policy.limit}):
        job = Judged.of(row)
        settle(tx, job, AttemptOutcome.OVERDUE, now, policy.result_ttl)
        taken.append((str(job.node_id), (job.id, job.fence)))
    return taken


def _end_cancelled(tx: Transaction, now: float, policy: SweepPolicy) -> int:
    """Jobs whose node was asked to cancel them and did not deliver in time."""
    asked = map(Judged.of, tx.rows(life.JUDGE_CANCELLED, {"before": now - policy.cancel_grace, "limit": policy.limit}))
    ended = [job for job in asked if job.id not in policy.spared or _asked_before(job, now - policy.spared_grace)]
    for job in ended:
        settle(tx, job, AttemptOutcome.CANCELLED, now, policy.result_ttl)
    return len(ended)


def _asked_before(job: Judged, moment: float) -> bool:
    return job.cancel_requested_at is not None and job.cancel_requested_at <= moment


def _give_up(tx: Transaction, now: float, policy: SweepPolicy, hopeless: frozenset[str]) -> int:
    rows = tx.rows(life.JUDGE_GIVEN_UP, {"now": now, "limit": policy.limit})
    for row in rows:
        job = Judged.of(row)
        failure = _for_want_of_a_node(job) if job.class_key in hopeless else Failure.EXPIRED
        end_pending(tx, job, failure, now, policy.result_ttl)
    return len(rows)


def _delete_expired(tx: Transaction, now: float, policy: SweepPolicy) -> int:
    rows = tx.rows(upkeep.EXPIRED, {"now": now, "limit": policy.limit})
    if not rows:
        return 0
    seqs = id_list(row[0] for row in rows)
    for _, job_id, status, owner, stored_bytes in rows:
        tx.run(upkeep.BURY, {"id": job_id, "now": now, "owner": owner})
        if owner is not None:
            tx.changes.owned.append(Owned(owner, stored_bytes=-stored_bytes))
        tx.changes.moved(JobStatus(status), None)
    for statement in (
        upkeep.DELETE_STATES,
        upkeep.DELETE_INPUTS,
        upkeep.DELETE_RESULTS,
        upkeep.DELETE_ATTEMPTS,
    ):
        tx.run(statement, {"seqs": seqs})
    files.forget(tx, seqs)
    tx.run(webhooks.DELETE_OF_JOBS, {"job_ids": json.dumps([job_id for _, job_id, *_ in rows])})
    return len(rows)
