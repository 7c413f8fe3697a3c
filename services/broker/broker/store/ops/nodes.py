"""Sessions of nodes."""

from collections.abc import Iterable

from broker.domain.words import NodeEventKind
from broker.store.ops.node_events import note
from broker.store.ops.sweep import rescue
from broker.store.records.attempt import Ref
from broker.store.records.node import NodeEvent, NodeLease, Registration
from broker.store.sql import nodes as sql
from broker.store.sql import upkeep
from broker.store.transaction import Transaction

__all__ = ["lose", "register", "save_leases", "set_draining"]


def register(tx: Transaction, registration: Registration, now: float, result_ttl: float) -> tuple[int, list[Ref]]:
    """Begin a session, ending the node's earlier one and rescuing its jobs. The answer: its number, and those jobs."""
    taken = rescue(tx, [registration.node_id], now, result_ttl)
    before = tx.row(sql.SESSION, {"node_id": registration.node_id})
    row = tx.row(
        upkeep.REGISTER,
        {
            "node_id": registration.node_id,
            "secret_hash": registration.secret_hash,
            "session_hash": registration.session_hash,
            "endpoint": registration.endpoint,
            "capabilities": registration.capabilities,
            "slots": registration.slots,
            "name": registration.name,
            "version": registration.version,
            "lease_until": registration.lease_until,
            "joined_with": registration.joined_with,
            "now": now,
        },
    )
    assert row is not None
    _note_sessions(tx, registration, before[0] if before else None, row[0], now, len(taken))
    return row[0], taken


def _note_sessions(
    tx: Transaction, registration: Registration, before: int | None, number: int, now: float, taken: int
) -> None:
    node_id = registration.node_id
    if before is not None and before + 1 == number:  # else it was evicted, which is noted
        reason = "left" if registration.left else "replaced"
        note(tx, NodeEvent(node_id, now, NodeEventKind.SESSION_ENDED, before, taken, reason))
    note(tx, NodeEvent(node_id, now, NodeEventKind.SESSION_BEGAN, number, by=registration.joined_with))


def lose(tx: Transaction, node_ids: Iterable[str], now: float, result_ttl: float, why: NodeEventKind) -> list[Ref]:
    """Take every attempt away from nodes that are lost, and note that they are."""
    taken = []
    for node_id in node_ids:
        before = tx.row(sql.SESSION, {"node_id": node_id})
        refs = rescue(tx, [node_id], now, result_ttl)
        if before is not None and (refs or not _is_lost_already(tx, node_id)):
            note(tx, NodeEvent(node_id, now, why, before[0], len(refs)))
        taken += refs
    return taken


def save_leases(tx: Transaction, leases: Iterable[NodeLease], now: float) -> None:
    """Write down what heartbeats changed since the last time, and the broker's clock."""
    for lease in leases:
        tx.run(
            upkeep.SAVE_LEASE,
            {"node": lease.node_id, "lease": lease.lease_until, "heartbeat": lease.last_heartbeat},
        )
    tx.run(upkeep.SAVE_CLOCK, {"now": now})


def _is_lost_already(tx: Transaction, node_id: str) -> bool:
    """A broker that starts again takes the silent for silent once more."""
    last = tx.row(sql.EVENTS, {"node_id": node_id, "limit": 1})
    return last is not None and last[2] in (NodeEventKind.SILENT, NodeEventKind.LINK_BROKE)


def set_draining(tx: Transaction, node_id: str, draining: bool, now: float, by: str | None) -> None:
    """Remember that a node is to claim no more, or may again, and which key said so."""
    before = tx.row(sql.SESSION, {"node_id": node_id})
    tx.run(upkeep.SET_DRAINING, {"node": node_id, "drain": draining})
    if before is not None and bool(before[1]) != draining:
        kind = NodeEventKind.DRAINED if draining else NodeEventKind.RESUMED
        note(tx, NodeEvent(node_id, now, kind, before[0], by=by))
