"""Keys: making, changing, and putting out the nodes that joined with one."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from broker.domain.words import NodeEventKind
from broker.store.ops.node_events import note
from broker.store.ops.sweep import rescue
from broker.store.records.access import Key
from broker.store.records.attempt import Ref
from broker.store.records.node import NodeEvent
from broker.store.sql import keys
from broker.store.transaction import Transaction

__all__ = ["NO_HASH", "add", "change", "evict", "touch"]

NO_HASH = "-"
"""The session hash of a node without a session: no secret has it."""


def add(tx: Transaction, key: Key) -> None:
    """Store a new key."""
    tx.run(keys.INSERT_KEY, asdict(key))


def change(tx: Transaction, key: Key) -> None:
    """Store what may change of a key: secrets, expiry, revocation, limits."""
    tx.run(
        keys.CHANGE_KEY,
        {
            "key_id": key.id,
            "new_hash": key.secret_hash,
            "replaced_hash": key.old_hash,
            "replaced_until": key.old_until,
            "expires": key.expires_at,
            "revoked": key.revoked_at,
            "new_limits": key.limits,
        },
    )


def touch(tx: Transaction, used: Mapping[str, float]) -> None:
    """Write down when keys were used last."""
    for key_id, moment in used.items():
        tx.run(keys.TOUCH_KEY, {"key_id": key_id, "used": moment})


def evict(tx: Transaction, node_ids: Iterable[str], now: float, result_ttl: float, by: str | None) -> list[Ref]:
    """End these nodes' sessions for good and take their jobs back; a new session needs a new registration."""
    taken = []
    for node_id in node_ids:
        found = tx.row(keys.EVICT, {"node": node_id, "no_hash": NO_HASH, "now": now})
        refs = rescue(tx, [node_id], now, result_ttl)
        if found is not None:
            ended = NodeEventKind.SESSION_ENDED
            note(tx, NodeEvent(node_id, now, ended, found[0] - 1, len(refs), "evicted", by))
        taken += refs
    return taken
