"""What the calls answer, as models for the OpenAPI document. Answers are built without them (broker.api.render), and
tests/api hold the two together."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.domain.words import AttemptOutcome, Failure, JobStatus, LostReason, NodeEventKind, WaitReason

__all__ = [
    "BeatAnswer",
    "CancelAnswer",
    "CancelManyAnswer",
    "ClaimAnswer",
    "CompleteAnswer",
    "CompleteBatchAnswer",
    "DrainAnswer",
    "EnvironmentsAnswer",
    "ErrorAnswer",
    "HealthAnswer",
    "JobAnswer",
    "JobInputAnswer",
    "JobListAnswer",
    "JobWithAttemptsAnswer",
    "KeyAnswer",
    "KeysAnswer",
    "LogsAnswer",
    "MissingAnswer",
    "NewKeyAnswer",
    "NodePageAnswer",
    "NodesAnswer",
    "NotEndedAnswer",
    "OutputsAnswer",
    "OverviewAnswer",
    "ProgressAnswer",
    "ReadyAnswer",
    "RedeliverAnswer",
    "RegisterAnswer",
    "ReleaseAnswer",
    "ResultAnswer",
    "ResultsAnswer",
    "RevokedKeyAnswer",
    "StartAnswer",
    "StatsAnswer",
    "StatusOkAnswer",
    "SubmitAnswer",
    "SubmitBatchAnswer",
    "UsageAnswer",
    "UsageExportAnswer",
    "WebhooksAnswer",
    "WhoAnswer",
    "errors",
]


class Answer(BaseModel):
    """Nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    """One wrong field."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorAnswer(Answer):
    """Every error."""

    error: str = Field(description="A sentence for a person.")
    reason: str | None = Field(None, description="A word for a program.")
    detail: list[ErrorDetail] | None = None
    limit: str | None = Field(None, description="With 429: which limit is reached.")


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these codes."""
    words = {
        400: "The body is not JSON",
        401: "A key is missing, unknown, expired or revoked",
        403: "The key is for something else; wrong_secret",
        404: "Unknown",
        408: "The body did not arrive in time",
        409: "Conflict: session_ended, stale_lease, or an Idempotency-Key used before",
        410: "Deleted after RESULT_TTL",
        411: "Content-Length is missing",
        507: "The room for files is used up",
        413: "The body is too large",
        415: "The body is not declared as JSON",
        422: "A field is wrong",
        429: "A limit is reached: Retry-After says for how long",
        503: "Try again later: overloaded or stopping",
    }
    return {code: {"model": ErrorAnswer, "description": words[code]} for code in codes}


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


class ArtifactAnswer(Answer):
    """A file that a job left."""

    path: str
    size: int
    sha256: str
    mime: str
    download_url: str


class DroppedArtifactAnswer(Answer):
    """A file that a job left and that is not kept."""

    path: str
    size: int | None = None
    reason: str


class ResultAnswer(Answer):
    """How a job ended."""

    job_id: str
    status: JobStatus
    output: str
    error: str
    exit_code: int | None
    failure: Failure | None
    explanation: str | None = Field(description="Why it failed, in one sentence.")
    node_id: str | None
    attempt: int
    completed_at: str | None
    cached: bool
    limit: Limit | None
    usage: Usage | None
    signal: int | None
    output_bytes: int | None
    error_bytes: int | None
    output_cut_at: int | None
    error_cut_at: int | None
    output_base64: str | None = None
    error_base64: str | None = None
    artifacts: list[ArtifactAnswer]
    artifacts_dropped: list[DroppedArtifactAnswer]
    execution: dict[str, str] | None = None
    message: str | None
    verify: VerifyAnswer | None = None
    verified: VerifiedAnswer | None = Field(None, description="Null unless enough nodes came to this result.")


class LogsAnswer(Answer):
    """What a job has printed from one byte of each stream to another; `…_base64` when asked for."""

    job_id: str
    status: JobStatus | Literal["queued"]
    attempt: int
    fence: int
    stdout: str
    stderr: str
    stdout_from: int = 0
    stdout_next: int = 0
    stderr_from: int = 0
    stderr_next: int = 0
    stdout_base64: str | None = None
    stderr_base64: str | None = None


class NotEndedAnswer(Answer):
    """The job has not ended."""

    error: str
    status: JobStatus
    job_id: str | None = None


class NoResult(Answer):
    """The job is unknown, or deleted."""

    job_id: str
    error: str


class ResultsAnswer(Answer):
    """Results in the order asked for."""

    results: list[ResultAnswer | NotEndedAnswer | NoResult]


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


class Ref(Answer):
    """Names one attempt."""

    job_id: str
    fence: int


class Lost(Ref):
    """An attempt that is no longer the node's."""

    reason: LostReason


class RegisterAnswer(Answer):
    """What a node has to know; `secret` only when it is new."""

    node_id: str
    secret: str | None = None
    session: str
    lease_seconds: float
    heartbeat_seconds: float
    link_grace_seconds: float
    server_time: str


class FollowRef(Ref):
    """An attempt whose output is read live, and the offsets from which on it is wanted."""

    stdout_from: int
    stderr_from: int


class BeatAnswer(Answer):
    """What became of the node's attempts."""

    status: str
    lease_seconds: float
    renewed: list[Ref]
    lost: list[Lost]
    cancel: list[Ref]
    drain: bool
    follow: list[FollowRef]


class Upload(Answer):
    """A part of a multipart submit, to be fetched from /inputs."""

    name: str
    sha256: str
    size: int


class ClaimedJob(Answer):
    """An attempt to run."""

    id: str
    code: str
    interpreter: str
    args: list[str]
    stdin: str | None
    env: dict[str, str]
    files: dict[str, str | dict[str, str]]
    entrypoint: str | None
    outputs: list[str] | None
    timeout: float
    memory_mb: int | None
    cpu_seconds: float | None
    environment: str | None
    uploads: list[Upload]
    limits: dict[str, int]
    attempt: int
    fence: int


class ClaimAnswer(Answer):
    """Attempts to run."""

    job: ClaimedJob | None
    jobs: list[ClaimedJob]
    drain: bool | None = None


class StartAnswer(Answer):
    """What was noted, and what is no longer the node's."""

    status: str
    lost: list[Lost]


class ProgressAnswer(Answer):
    """Output was passed on; that of the attempts in `stop` is not wanted any more."""

    status: str
    stop: list[Ref]


class CompleteAnswer(Answer):
    """The result is stored; `duplicate`: it was before."""

    status: str
    duplicate: bool | None = None


class StatusOkAnswer(Answer):
    """Done."""

    status: str


class MissingAnswer(Answer):
    """What still has to be sent."""

    missing: list[str]


class OutputFile(Answer):
    """A file that a job left, in sandrun's words."""

    name: str
    size: int
    size_formatted: str
    type: str
    mime_type: str
    sha256: str
    download_url: str


class OutputsAnswer(Answer):
    """The files that a job left."""

    job_id: str
    status: str
    total_files: int
    files: list[OutputFile]


class StatsAnswer(Answer):
    """sandrun's quota and queue."""

    your_quota: dict[str, Any]
    system: dict[str, int]


class EnvironmentsAnswer(Answer):
    """sandrun's templates."""

    templates: list[str]
    stats: dict[str, int | float]


class Delivery(Answer):
    """One try to deliver a webhook."""

    at: str
    status: int | None
    error: str | None
    seconds: float


class WebhookInfo(Answer):
    """A webhook: owed, delivered or failed."""

    id: str
    url: str
    state: str
    attempts: int
    next_at: str | None
    deliveries: list[Delivery]


class WebhooksAnswer(Answer):
    """What became of a job's webhooks."""

    webhooks: list[WebhookInfo]


class RedeliverAnswer(Answer):
    """How many are delivered once more."""

    redelivered: int


class CancelManyAnswer(Answer):
    """`cancelled` at once, `requested` of their nodes; `more` jobs match: call again."""

    cancelled: int
    requested: int
    more: bool


class CompletedJob(Answer):
    """What became of one completion: ok, duplicate, stale_lease, unknown_job or missing_artifacts."""

    job_id: str
    status: str
    missing: list[str] | None = None


class CompleteBatchAnswer(Answer):
    """What became of each completion."""

    status: str
    results: list[CompletedJob]


class ReleaseAnswer(Answer):
    """What was put back."""

    status: str
    released: list[Ref]


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


class PoolNode(Answer):
    """A node in a line."""

    id: str
    name: str | None
    state: str = Field(description="active, draining or silent")
    slots: int | None
    held: int
    isolation: str | None
    version: str | None
    linked: bool
    heartbeat_age: float


class PoolNodes(Answer):
    """The nodes in sums, and up to 60 by name, those in trouble first."""

    known: int
    active: int
    draining: int
    silent: int
    slots: int
    slots_used: int
    isolation: dict[str, int]
    versions: dict[str, int]
    interpreters: dict[str, int]
    list: list[PoolNode]
    unlisted: int


class PoolClass(Answer):
    """The pending jobs of a class."""

    interpreter: str
    wishes: list[str]
    runnable: bool = Field(description="Whether a live node that takes jobs could run it.")
    pending: int
    priorities: dict[str, int]


class PoolQueue(Answer):
    """What is pending; up to 24 classes by name, the largest first."""

    pending: int
    classes: list[PoolClass]
    unlisted: int
    priorities: dict[str, int]


class PoolHour(Answer):
    """The last hour in sums; times in seconds."""

    submitted: int
    completed: int
    failed: int
    failures: dict[str, int]
    wait_p50: float | None
    wait_p95: float | None
    total_p50: float | None
    total_p95: float | None


class PoolSeries(Answer):
    """The last hour in slices, the present one last."""

    slice_seconds: float
    until: float
    submitted: list[int]
    completed: list[int]
    failed: list[int]
    wait_p50: list[float | None]
    wait_p95: list[float | None]
    total_p50: list[float | None]
    total_p95: list[float | None]


class OverviewAnswer(Answer):
    """The pool at a glance."""

    time: str
    jobs: dict[str, int]
    nodes: PoolNodes
    queue: PoolQueue
    hour: PoolHour
    series: PoolSeries


class HealthAnswer(Answer):
    """Whether the broker serves."""

    status: str
    jobs: int
    jobs_by_status: dict[str, int]
    active_nodes: int
    version: str
    sqlite_version: str
    worker_id: None = None
    error: str | None = None


class ReadyAnswer(Answer):
    """Calls are welcome."""

    status: str


class KeyAnswer(Answer):
    """A key, without its secret."""

    id: str = Field(description="Names the owner of jobs; stays the same through rotations.")
    name: str
    role: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None = Field(description="Written down within half a minute.")
    old_secret_until: str | None = Field(description="After a rotation: how long the secret before it stays good.")
    limits: dict[str, int | None] = Field(description="Its own; null: the settings', 0: none.")


class NewKeyAnswer(KeyAnswer):
    """A key with its text, which is shown once."""

    key: str


class RevokedKeyAnswer(KeyAnswer):
    """A key that is good no longer."""

    evicted_nodes: list[str]


class KeysAnswer(Answer):
    """All keys."""

    keys: list[KeyAnswer]


class WhoAnswer(Answer):
    """Who calls."""

    auth: bool = Field(description="Whether the broker asks for keys.")
    role: str | None
    name: str | None
    id: str | None


class UsedLimit(Answer):
    """A limit, and how much of it is used."""

    limit: int | None
    used: float | None


class UsageLine(Answer):
    """What attempts with one outcome used on one day (UTC); `submitted` and `cached` count jobs."""

    day: str
    owner: str
    name: str | None
    outcome: str
    count: int
    cpu_seconds: float
    wall_seconds: float
    memory_mb_seconds: float
    bytes_in: int
    bytes_out: int


class OwnerUsage(Answer):
    """One owner's limits and use."""

    owner: str
    name: str | None
    limits: dict[str, UsedLimit]
    today: list[UsageLine]


class UsageAnswer(Answer):
    """Limits and use: one's own; for admins everybody's."""

    metered: bool = Field(description="False without keys: then nobody owns a job.")
    owners: list[OwnerUsage]


class UsageExportAnswer(Answer):
    """Daily rows."""

    rows: list[UsageLine]
