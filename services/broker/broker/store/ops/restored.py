"""What a database needs that comes back from a backup: the world went on without it.

Nodes may still run attempts that this database knows nothing of, under fences that it will give out again, in sessions
that it takes for good. So every session ends, and fences go on far above those that can have been given out since.
Attempts go back to the queue without being counted: no node was lost. Results get the time that they had left.
"""

from broker.domain.words import AttemptOutcome, NodeEventKind
from broker.store.ops.ending import Judged, settle
from broker.store.ops.keys import NO_HASH
from broker.store.ops.node_events import note
from broker.store.records.node import NodeEvent
from broker.store.sql import life, restored
from broker.store.transaction import Transaction

__all__ = ["FENCE_STEP", "adapt"]

FENCE_STEP = 1_000_000
"""More claims of one job than there can be between a backup and its restoring."""


def adapt(tx: Transaction, made_at: float, now: float, result_ttl: float) -> int:
    """Make the database fit for going on; the answer is how many attempts went back."""
    released = 0
    for node_id, session_number in tx.rows(restored.NODES, {}):
        held = [Judged.of(row) for row in tx.rows(life.JUDGE_HELD_BY, {"node_id": node_id})]
        for job in held:
            settle(tx, job, AttemptOutcome.RELEASED, now, result_ttl)
        released += len(held)
        ended = NodeEventKind.SESSION_ENDED
        note(tx, NodeEvent(node_id, now, ended, session_number, len(held), "restored"))
    away = max(0.0, now - made_at)
    tx.run(restored.END_SESSIONS, {"no_hash": NO_HASH, "now": now, "away": away})
    tx.run(restored.RAISE_FENCES, {"step": FENCE_STEP})
    tx.run(restored.PROLONG, {"away": away})
    return released
