"""The life of an attempt: claimed, held, completed or lost."""

from dataclasses import dataclass

from broker.domain.words import AttemptOutcome, Failure, JobStatus, LostReason
from broker.store.records.job import StoredFile

__all__ = [
    "Attempt",
    "CancelOutcome",
    "ClaimGrant",
    "ClaimRequest",
    "ClaimedJob",
    "Completion",
    "CompletionOutcome",
    "HeldAttempt",
    "Lost",
    "Ref",
]

Ref = tuple[str, int]
"""(job_id, fence): names one attempt for good."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A node's wish for jobs."""

    node_id: str
    class_keys: tuple[str, ...]
    """The classes that the node can run, those it is preferred for first."""
    max_jobs: int
    bounds: tuple[float, ...] = ()
    """For each class a rank below which it has nothing, so that few classes need be looked at; empty: not known."""
    session_number: int | None = None
    """The session that asks; it gets nothing when another has begun. None: whichever is present."""
    claim_number: int | None = None
    capacity: int | None = None
    """How many attempts the node may hold at once; None for no limit."""
    deadline_slack: float = 0.0
    """Seconds beyond a job's timeout after which the broker takes it back by itself."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """An attempt, with all that the node needs to run it."""

    id: str
    interpreter: str
    timeout: float
    attempt: int
    fence: int
    code: str
    spec: str | None
    request_id: str | None
    """Of the call that submitted it."""


@dataclass(frozen=True, slots=True)
class ClaimGrant:
    """`full`: the node holds as much as it may. `ended`: another session of it has begun."""

    jobs: tuple[ClaimedJob, ...]
    full: bool = False
    ended: bool = False
    repeated: bool = False
    """These are the attempts that the same claim number got before."""
    classes: frozenset[str] = frozenset()
    """Those of the jobs, with the nodes that they are barred from; not told when `repeated`."""


@dataclass(frozen=True, slots=True)
class HeldAttempt:
    """An attempt that the store believes a node holds."""

    job_id: str
    fence: int
    claim_number: int | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that is no longer the node's."""

    job_id: str
    fence: int
    reason: LostReason


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """What a cancel found; `node_id` and `fence` when a node has to be told."""

    status: JobStatus
    failure: Failure | None
    requested: bool = False
    """The job's node has been asked to end it."""
    node_id: str | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A node's word on how an attempt ended."""

    job_id: str
    fence: int | None
    output: str
    error: str
    exit_code: int | None
    outcome: AttemptOutcome
    failure: Failure | None
    """The verdict of a program that failed; None unless `outcome` is failed."""
    details: str | None = None
    """JSON text of limit, usage, signal, output_bytes, error_bytes, message: what `/results` repeats."""
    usage: tuple[float | None, float | None, int | None] = (None, None, None)
    """wall seconds, CPU seconds, peak memory in bytes."""
    digest: str | None = None
    """SHA-256 of output and error."""
    message: str | None = None
    printed_bytes: int = 0
    """What the program printed, beyond what is kept too."""
    stored_bytes: int = 0
    """What the result takes."""
    output_binary: bytes | None = None
    error_binary: bytes | None = None
    artifacts: tuple[StoredFile, ...] = ()
    file_count: int = 0
    """Artifacts, and those that were dropped."""


@dataclass(frozen=True, slots=True)
class CompletionOutcome:
    """`word` is ok, duplicate, stale_lease, unknown_job, or missing_artifacts (nothing was changed)."""

    job_id: str
    word: str
    status: JobStatus | None = None
    missing: tuple[str, ...] = ()
    """SHA-256 of what has to be sent first."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One handing of a job to one node."""

    number: int
    fence: int
    node_id: str
    session_number: int
    claimed_at: float
    started_at: float | None
    ended_at: float | None
    outcome: AttemptOutcome | None
    failure: Failure | None
    exit_code: int | None
    wall_seconds: float | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    output_digest: str | None
    message: str | None
    result_digest: str | None = None
    """Of a verified job's attempt that gave a result; equal for equal results."""
