"""What happened to a node, kept with the change that it was: the last of it, for people who look."""

import json
from collections.abc import Iterable

from broker.store.records.node import NodeEvent
from broker.store.sql import nodes
from broker.store.transaction import Transaction

__all__ = ["KEPT", "forget", "note"]

KEPT = 200
"""Events of one node."""


def note(tx: Transaction, event: NodeEvent) -> None:
    """Keep an event, and no more than KEPT of its node."""
    tx.run(
        nodes.INSERT_EVENT,
        {
            "node_id": event.node_id,
            "at": event.at,
            "kind": event.kind.value,
            "session_number": event.session_number,
            "attempts": event.attempts,
            "reason": event.reason,
            "whose": event.by,
        },
    )
    tx.run(nodes.TRIM_EVENTS, {"node": event.node_id, "kept": KEPT})


def forget(tx: Transaction, node_ids: Iterable[str]) -> None:
    """Drop the events of nodes that are no longer in the list."""
    names = list(node_ids)
    if names:
        tx.run(nodes.FORGET_EVENTS, {"nodes": json.dumps(names)})
