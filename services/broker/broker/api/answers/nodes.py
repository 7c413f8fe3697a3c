"""What calls about nodes answer."""

from typing import Any

from pydantic import Field

from broker.api.answers.base import Answer
from broker.api.answers.jobs import AttemptAnswer
from broker.domain.words import JobStatus, NodeEventKind

__all__ = [
    "DrainAnswer",
    "NodeAnswer",
    "NodeAttemptAnswer",
    "NodeEventAnswer",
    "NodeHeldAnswer",
    "NodePageAnswer",
    "NodeSessionAnswer",
    "NodesAnswer",
]


class NodeAnswer(Answer):
    """A node that the broker knows."""

    id: str
    endpoint: str
    name: str | None
    version: str | None
    capabilities: dict[str, Any]
    slots: int | None
    last_heartbeat: str
    registered_at: str
    session_number: int
    jobs_completed: int
    jobs_failed: int
    jobs_held: int
    active: bool
    draining: bool


class NodesAnswer(Answer):
    """Every node."""

    nodes: list[NodeAnswer]


class NodeSessionAnswer(Answer):
    """A node's present session."""

    number: int
    began_at: str | None = Field(description="null when it began before the oldest event that is kept.")
    lease_until: str
    joined_with: str | None = Field(description="The join token; null for clients.")
    drained: bool = Field(description="An operator told it to take no more jobs.")
    leaving: bool = Field(description="It said so itself.")
    capacity: int | None = Field(description="Attempts that it may hold: twice its slots.")


class NodeHeldAnswer(Answer):
    """An attempt that a node holds."""

    job_id: str
    status: JobStatus
    attempt: int
    fence: int
    claimed_at: str
    started_at: str | None
    deadline_at: str
    cancel_requested: bool


class NodeEventAnswer(Answer):
    """Something that happened to a node."""

    at: str
    kind: NodeEventKind
    session_number: int | None
    attempts: int = Field(description="How many were taken back from it.")
    reason: str | None = Field(description="Why a session ended: replaced, left, evicted, restored.")
    by: str | None = Field(description="The key that did it; null without keys, and for clients.")
    by_name: str | None
    text: str = Field(description="The same in a sentence.")


class NodeAttemptAnswer(AttemptAnswer):
    """An attempt that a node had."""

    job_id: str


class NodePageAnswer(NodeAnswer):
    """A node with its past. Of jobs clients see their own only."""

    state: str = Field(description="active, draining or silent")
    linked: bool = Field(description="Whether its connection for news is open.")
    session: NodeSessionAnswer
    held: list[NodeHeldAnswer]
    history: list[NodeEventAnswer] = Field(description="The last 200 events, the newest first.")
    attempts: list[NodeAttemptAnswer] = Field(description="The newest first.")
    next_cursor: str | None = Field(description="For more attempts; a page for a client may be short and go on.")


class DrainAnswer(Answer):
    """Whether the node may claim."""

    node_id: str
    draining: bool
