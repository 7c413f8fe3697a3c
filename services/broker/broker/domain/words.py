"""The words of the API: every status, failure and outcome that the broker can say."""

from enum import StrEnum

__all__ = [
    "RETRYABLE_VERDICTS",
    "VERDICTS",
    "AttemptOutcome",
    "Failure",
    "JobStatus",
    "LostReason",
    "NodeEventKind",
    "WaitReason",
]


class JobStatus(StrEnum):
    """Where a job is in its life; the last two are terminal and nothing ever leaves them."""

    PENDING = "pending"
    """Waits for a node, a start time, a backoff or an identical job."""
    ASSIGNED = "assigned"
    """Handed to a node that has not said that the program runs."""
    RUNNING = "running"
    """The node said that the program runs."""
    COMPLETED = "completed"
    """Ended with exit code 0."""
    FAILED = "failed"
    """Ended in any other way; `failure` says why."""


class Failure(StrEnum):
    """Why a job failed. The first nine are verdicts of a node, the rest the broker's own."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    DISK = "disk"
    PROCESSES = "processes"
    CANCELLED = "cancelled"
    NODE_LOST = "node_lost"
    """Its nodes were lost more often than MAX_RETRIES allows."""
    PLATFORM = "platform"
    """The executor failed more often than MAX_RETRIES allows."""
    REJECTED = "rejected"
    """No node could ever run it: none came that could, or a node found its files to be wrong."""
    EXPIRED = "expired"
    """Its deadline passed while it was pending."""
    VERIFICATION = "verification"
    """Too few of its nodes came to the same result."""


VERDICTS = frozenset(
    {
        Failure.EXIT,
        Failure.SIGNAL,
        Failure.TIMEOUT,
        Failure.CPU,
        Failure.MEMORY,
        Failure.OUTPUT,
        Failure.DISK,
        Failure.PROCESSES,
        Failure.CANCELLED,
    }
)
"""What a node may report about a program that it ran."""

RETRYABLE_VERDICTS = frozenset({Failure.EXIT, Failure.TIMEOUT, Failure.MEMORY})
"""Verdicts that `retry_on` may name."""


class AttemptOutcome(StrEnum):
    """How an attempt ended; an open attempt has none."""

    COMPLETED = "completed"
    """The program ended with exit code 0."""
    FAILED = "failed"
    """The program ended otherwise: a result, retried only when `retry_on` asks."""
    PLATFORM = "platform"
    """The executor could not run the program to its end."""
    NODE_LOST = "node_lost"
    """The lease ended, the link broke, or a new session of the node began."""
    OVERDUE = "overdue"
    """The node kept the job beyond its time limit although it was alive."""
    RELEASED = "released"
    """Handed back unrun, or lost with the answer of its claim; the attempt is not used up."""
    CANCELLED = "cancelled"
    """The job was cancelled."""


class WaitReason(StrEnum):
    """Why a pending job is not running yet."""

    NEXT = "next"
    """A slot that can run it is free: it is about to be claimed."""
    BUSY = "busy"
    """Every slot that can run it is taken."""
    IDENTICAL = "identical"
    """An identical job is under way, whose success will be its own."""
    BACKOFF = "backoff"
    """It failed, and is tried again at a time."""
    NOT_BEFORE = "not_before"
    """Its start time has not come."""
    NO_NODES = "no_nodes"
    """No node is live."""
    NO_MATCH = "no_match"
    """No live node offers what it asks for."""
    DRAINING = "draining"
    """The live nodes that could run it take no jobs."""
    ANOTHER_NODE = "another_node"
    """It is verified, and every live node that could run it has given its result."""
    STORE = "store"
    """The broker's database refuses changes: nothing is handed out."""


class NodeEventKind(StrEnum):
    """What happens to a node."""

    SESSION_BEGAN = "session_began"
    """It registered."""
    SESSION_ENDED = "session_ended"
    """Its next session began (reason `replaced`, or `left` when it had said that it leaves), or its join token was
    revoked (`evicted`), or the broker's database came back from a backup (`restored`)."""
    SILENT = "silent"
    """Its lease ended: nothing was heard of it for NODE_TIMEOUT."""
    LINK_BROKE = "link_broke"
    """Its open connection broke, and it was not back in time."""
    RETURNED = "returned"
    """It was heard of again after one of these two, in the same session."""
    LEAVING = "leaving"
    """It said that it takes no more jobs, because it stops."""
    DRAINED = "drained"
    """An operator told it to take no more jobs."""
    RESUMED = "resumed"
    """An operator let it take jobs again."""


class LostReason(StrEnum):
    """Why an attempt that a node lists is no longer the node's."""

    CANCELLED = "cancelled"
    """The job was cancelled and has ended."""
    FINISHED = "finished"
    """The job has ended; with this attempt's own fence the node missed an answer."""
    RESCUED = "rescued"
    """The job went back to the queue, or to another node."""
    UNKNOWN = "unknown_job"
    """The broker does not know the job (any more)."""
