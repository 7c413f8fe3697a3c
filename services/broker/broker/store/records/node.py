"""Nodes, their leases, and what happened to them."""

from dataclasses import dataclass
from typing import Any

from broker.domain.words import JobStatus, NodeEventKind
from broker.store.records.attempt import Attempt

__all__ = ["HeldByNode", "Node", "NodeAttempt", "NodeEvent", "NodeLease", "Registration"]


@dataclass(frozen=True, slots=True)
class Registration:
    """A new session of a node."""

    node_id: str
    secret_hash: str
    session_hash: str
    endpoint: str
    capabilities: str
    """JSON text, as the node sent it."""
    slots: int | None
    name: str | None
    version: str | None
    lease_until: float
    joined_with: str | None = None
    """The join token's key."""
    left: bool = False
    """Its earlier session had said that it leaves."""


@dataclass(frozen=True, slots=True)
class NodeLease:
    """What a heartbeat changes, written lazily."""

    node_id: str
    lease_until: float
    last_heartbeat: float


@dataclass(frozen=True, slots=True)
class Node:
    """A node as stored."""

    id: str
    secret_hash: str
    session_hash: str
    session_number: int
    endpoint: str
    capabilities: dict[str, Any]
    slots: int | None
    name: str | None
    version: str | None
    draining: bool
    registered_at: float
    last_heartbeat: float
    lease_until: float
    jobs_completed: int
    jobs_failed: int
    joined_with: str | None = None
    held: int = 0
    """Attempts that it holds."""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something that happened to a node. `attempts`: how many were taken back from it; `by`: the key that did it."""

    node_id: str
    at: float
    kind: NodeEventKind
    session_number: int | None = None
    attempts: int = 0
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class NodeAttempt:
    """An attempt that a node had."""

    job_id: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class HeldByNode:
    """An attempt that a node holds, for people."""

    job_id: str
    owner: str | None
    status: JobStatus
    fence: int
    attempt: int
    claimed_at: float
    started_at: float | None
    deadline_at: float
    cancel_requested: bool
