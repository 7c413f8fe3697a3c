"""What goes into the store and comes out of it: plain frozen records. Times are seconds since 1970 UTC."""

from dataclasses import dataclass
from typing import Any

from broker.domain.words import AttemptOutcome, Failure, JobStatus, LostReason, NodeEventKind

__all__ = [
    "Attempt",
    "Backlog",
    "CancelOutcome",
    "ClaimGrant",
    "ClaimRequest",
    "ClaimedJob",
    "Completion",
    "CompletionOutcome",
    "Flow",
    "HeldAttempt",
    "HeldByNode",
    "Holding",
    "Idempotency",
    "Job",
    "JobFilter",
    "JobInput",
    "Key",
    "Lost",
    "NewJob",
    "Node",
    "NodeAttempt",
    "NodeEvent",
    "NodeLease",
    "Registration",
    "Result",
    "StoredFile",
    "Submission",
    "SubmitOutcome",
    "SubmittedJob",
    "SweepPolicy",
    "Swept",
    "UsageRow",
    "Webhook",
]

Ref = tuple[str, int]
"""(job_id, fence): names one attempt for good."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose content is a blob. `path`: an artifact's; for an input its place among the parts."""

    path: str
    sha256: str
    size: int
    mime: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored."""

    id: str
    interpreter: str
    class_key: str
    priority: int
    rank: float
    timeout: float
    max_retries: int
    created_at: float
    code: str
    spec: str | None = None
    """What else the node needs to run it (args, stdin, env, files …) as JSON text."""
    submitter: str | None = None
    owner: str | None = None
    """Whose key submitted it; nothing is metered without one."""
    stored_bytes: int = 0
    """What it adds to its owner's stored bytes."""
    labels: str | None = None
    """JSON text of {name: value}."""
    retry_on: str = ""
    """Verdicts, separated by commas."""
    run_at: float | None = None
    give_up_at: float | None = None
    dedupe_key: str | None = None
    dialect: str | None = None
    inputs: tuple[StoredFile, ...] = ()
    webhook: "Webhook | None" = None
    replicas: int | None = None
    """How many nodes may give a result before it is known which one counts; None: the first one does."""
    quorum: int | None = None
    """How many of these have to be equal."""
    request_id: str | None = None
    """Of the call that submitted it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The end of a job, owed to a URL. `state`: owed, delivered or failed."""

    id: str
    job_id: str
    url: str
    state: str = "owed"
    attempts: int = 0
    created_at: float = 0.0
    next_at: float | None = None
    payload: str | None = None
    """JSON, fixed when the job ended."""
    deliveries: str = "[]"
    """JSON list of the last tries."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key and the hash of what it sent with it."""

    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that are stored together or not at all."""

    jobs: tuple[NewJob, ...]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """What became of one submitted job."""

    id: str
    status: JobStatus
    cached: bool = False


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """`conflict`: the idempotency key belongs to another body, and nothing was stored."""

    jobs: tuple[SubmittedJob, ...]
    replayed: bool = False
    conflict: bool = False


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


@dataclass(frozen=True, slots=True)
class ClaimGrant:
    """`full`: the node holds as much as it may. `ended`: another session of it has begun."""

    jobs: tuple[ClaimedJob, ...]
    full: bool = False
    ended: bool = False
    repeated: bool = False
    """These are the attempts that the same claim number got before."""


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
class Lost:
    """An attempt that is no longer the node's."""

    job_id: str
    fence: int
    reason: LostReason


@dataclass(frozen=True, slots=True)
class HeldAttempt:
    """An attempt that the store believes a node holds."""

    job_id: str
    fence: int
    claim_number: int | None
    cancel_requested: bool


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
class Job:
    """A job without its input and output."""

    id: str
    status: JobStatus
    interpreter: str
    class_key: str
    priority: int
    timeout: float
    max_retries: int
    submitter: str | None
    labels: dict[str, str]
    node_id: str | None
    attempt: int
    losses: int
    fence: int
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    run_at: float | None
    give_up_at: float | None
    cancel_requested: bool
    follows: bool
    """It waits for an identical job to end."""
    cached: bool
    failure: Failure | None
    exit_code: int | None
    dialect: str | None = None
    file_count: int = 0
    owner: str | None = None
    rank: float = 0.0
    seq: int = 0
    """With `rank` its place among the jobs of its class."""
    reruns: int = 0
    """How often `retry_on` had it run again."""
    replicas: int | None = None
    quorum: int | None = None
    """As in NewJob."""
    results: int | None = None
    """Of a verified job: how many nodes have given a result."""
    equal: int | None = None
    """The most of these that are the same."""


@dataclass(frozen=True, slots=True)
class JobInput:
    """A job with what was submitted; `spec` and `retry_on` as in NewJob."""

    job: Job
    code: str
    spec: str | None
    retry_on: str
    cache: bool


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended; `details` is JSON text as in Completion."""

    job: Job
    output: str
    error: str
    details: str | None
    output_binary: bytes | None = None
    error_binary: bytes | None = None


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


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing shows, newest first."""

    status: JobStatus | None = None
    submitter: str | None = None
    label: tuple[str, str] | None = None
    interpreter: str | None = None
    failure: Failure | None = None
    node_id: str | None = None
    """Who holds it, or held it last."""
    text: str | None = None
    """In its submitter, labels or code, whatever the case, or the beginning of its id."""
    before: int | None = None
    """The cursor: only jobs stored before this one."""
    limit: int = 100
    owner: str | None = None
    """Only this owner's; None: everybody's."""


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
    holdings: tuple["Holding", ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """What one owner has in the broker."""

    owner: str
    unfinished: int
    pending: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Key:
    """A key as stored; `limits` is JSON text of the limits that differ from the settings'."""

    id: str
    name: str
    role: str
    secret_hash: str
    old_hash: str | None
    old_until: float | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    limits: str | None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one owner's attempts with one outcome used on one day (UTC, YYYY-MM-DD)."""

    day: str
    owner: str
    outcome: str
    count: int
    cpu_seconds: float
    wall_seconds: float
    memory_mb_seconds: float
    bytes_in: int
    bytes_out: int


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
