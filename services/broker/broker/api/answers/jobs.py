"""What calls about jobs answer."""

from typing import Literal

from pydantic import BaseModel, Field

from broker.api.answers.base import Answer
from broker.domain.words import AttemptOutcome, Failure, JobStatus, WaitReason

__all__ = [
    "AttemptAnswer",
    "CancelAnswer",
    "CancelManyAnswer",
    "JobAnswer",
    "JobInputAnswer",
    "JobListAnswer",
    "JobWithAttemptsAnswer",
    "Limit",
    "QueueAnswer",
    "SubmitAnswer",
    "SubmitBatchAnswer",
    "SubmittedJob",
    "Usage",
    "VerifiedAnswer",
    "VerifyAnswer",
]


class Limit(Answer):
    """The limit that ended a program."""

    name: str
    value: float | None = None
    peak: float | None = None


class Usage(Answer):
    """What an attempt used."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None


class QueueAnswer(Answer):
    """Where a pending job stands."""

    reason: WaitReason
    position: int | None = Field(
        description="1 is next. null while it is not in line (a time has to come, no node could run it), in lists, and "
        "when more are ahead than are counted."
    )
    ahead: int | None = Field(
        description="Jobs of a better place that the nodes which can run it can run too: up to 10,000 are counted in "
        "/jobs/{id}, up to 1,000 in /status, none in lists (null)."
    )
    more: bool = Field(description="More than `ahead` are ahead.")
    estimate_seconds: float | None = Field(
        description="Until it starts, if nothing comes that has a better place and jobs take as long as of late; null "
        "when nothing tells."
    )
    slots: int = Field(description="Slots of live nodes that take jobs and can run it.")
    slots_free: int
    run_at: str | None = Field(description="The time that it waits for: its not_before, or the end of its backoff.")
    rejected_at: str | None = Field(description="When it is given up unless a node comes that could run it.")


class VerifyAnswer(Answer):
    """How far the verification of a job is."""

    replicas: int = Field(description="How many nodes may give a result.")
    quorum: int = Field(description="How many results have to be equal.")
    results: int = Field(description="How many nodes have given one.")
    equal: int = Field(description="The most that are the same.")


class VerifiedAnswer(Answer):
    """Who came to a verified job's result."""

    nodes: list[str]
    result_sha256: str = Field(description="As in the attempts: equal for equal results.")


class JobAnswer(Answer):
    """A job's place in its life. Times are ISO 8601 in UTC."""

    job_id: str
    status: JobStatus
    node_id: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str | None
    interpreter: str
    timeout: float
    priority: int
    owner: str | None = Field(None, description="The key that submitted it; null without keys.")
    submitter: str | None
    labels: dict[str, str]
    attempt: int
    max_retries: int
    node_losses: int
    failure: Failure | None
    exit_code: int | None
    cached: bool
    cancel_requested: bool
    deadline: str | None
    waiting_for: str | None = Field(description="What a pending job waits for, in a phrase; null for others.")
    explanation: str | None = Field(
        description="In one sentence why a pending job waits, why a failed one failed; null for most others."
    )
    queue: QueueAnswer | None = Field(description="The numbers behind a pending job's explanation; null for others.")
    verify: VerifyAnswer | None = None


class AttemptAnswer(Answer):
    """One handing of a job to one node."""

    attempt: int
    fence: int
    node_id: str
    session_number: int
    claimed_at: str
    started_at: str | None
    ended_at: str | None
    outcome: AttemptOutcome | None
    failure: Failure | None
    exit_code: int | None
    usage: Usage
    output_sha256: str | None
    result_sha256: str | None = Field(None, description="Of a result of a verified job.")
    message: str | None


class JobWithAttemptsAnswer(JobAnswer):
    """A job with every attempt at it."""

    attempts: list[AttemptAnswer]
    request_id: str | None = Field(description="X-Request-Id of the call that submitted it.")
    trace_id: str | None = Field(description="Of its trace, where traces are sent to a collector.")


class JobListAnswer(Answer):
    """A page of jobs."""

    jobs: list[JobAnswer]
    next_cursor: int | None


class JobInputAnswer(BaseModel):
    """What was submitted: the fields of POST /submit that this job has, so that it can be submitted again."""

    job_id: str
    interpreter: str
    timeout: float
    priority: int
    max_retries: int


class SubmitAnswer(BaseModel):
    """The job is stored; an upload's status is `queued`, sandrun's word. With `wait`, and when it has ended, everything
    that /results says."""

    job_id: str
    status: JobStatus | Literal["queued"]
    cached: bool | None = None
    replayed: bool | None = None
    ignored_fields: list[str] | None = Field(None, description="Of an upload's manifest, that mean nothing here.")


class SubmittedJob(Answer):
    """One job of a batch."""

    job_id: str
    status: JobStatus
    cached: bool


class SubmitBatchAnswer(Answer):
    """All jobs are stored."""

    jobs: list[SubmittedJob]
    job_ids: list[str]
    replayed: bool


class CancelAnswer(Answer):
    """What a cancel found or did."""

    job_id: str
    status: JobStatus
    failure: Failure | None
    cancel_requested: bool


class CancelManyAnswer(Answer):
    """`cancelled` at once, `requested` of their nodes; `more` jobs match: call again."""

    cancelled: int
    requested: int
    more: bool
