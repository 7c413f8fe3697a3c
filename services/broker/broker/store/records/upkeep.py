"""What a starting broker finds, and what it clears away as it runs."""

from dataclasses import dataclass

from broker.domain.words import JobStatus
from broker.store.records.access import Holding
from broker.store.records.attempt import Ref

__all__ = ["Backlog", "Flow", "SweepPolicy", "Swept"]


@dataclass(frozen=True, slots=True)
class Flow:
    """Pending jobs of one class, submitter (with keys: owner) and priority."""

    class_key: str
    submitter: str | None
    priority: int
    first_rank: float
    last_rank: float
    count: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a starting broker has to know about what it left behind."""

    totals: dict[JobStatus, int]
    class_keys: frozenset[str]
    flows: tuple[Flow, ...]
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepPolicy:
    """The times by which a sweep judges."""

    result_ttl: float
    tombstone_ttl: float
    idempotency_ttl: float
    node_retention: float
    cancel_grace: float
    limit: int = 500
    """At most so many jobs of each kind in one sweep."""
    spared: frozenset[str] = frozenset()
    """Cancelled jobs whose files keep arriving; they have `spared_grace` instead."""
    spared_grace: float = 30.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did. `more`: a limit was reached. `next_due`: when the next waiting job may run."""

    promoted: int = 0
    overdue: tuple[tuple[str, Ref], ...] = ()
    """(node_id, attempt) of what was taken from living nodes."""
    expired: int = 0
    deleted: int = 0
    forgotten_nodes: tuple[str, ...] = ()
    more: bool = False
    next_due: float | None = None
