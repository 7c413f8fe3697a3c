"""Sessions of nodes."""

from collections.abc import Iterable

from broker.store.ops.sweep import rescue
from broker.store.records import NodeLease, Ref, Registration
from broker.store.sql import upkeep
from broker.store.transaction import Transaction

__all__ = ["register", "save_leases", "set_draining"]


def register(tx: Transaction, registration: Registration, now: float, result_ttl: float) -> tuple[int, list[Ref]]:
    """Begin a session, ending the node's earlier one and rescuing its jobs. The answer: its number, and those jobs."""
    taken = rescue(tx, [registration.node_id], now, result_ttl)
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
    return row[0], taken


def save_leases(tx: Transaction, leases: Iterable[NodeLease], now: float) -> None:
    """Write down what heartbeats changed since the last time, and the broker's clock."""
    for lease in leases:
        tx.run(
            upkeep.SAVE_LEASE,
            {"node": lease.node_id, "lease": lease.lease_until, "heartbeat": lease.last_heartbeat},
        )
    tx.run(upkeep.SAVE_CLOCK, {"now": now})


def set_draining(tx: Transaction, node_id: str, draining: bool) -> None:
    """Remember that a node is to claim no more, or may again."""
    tx.run(upkeep.SET_DRAINING, {"node": node_id, "drain": draining})
