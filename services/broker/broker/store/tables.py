"""The tables, as SQLModel classes. Migrations create them; a test holds the two together.

A job's row is kept small, because every transition rewrites it: what comes in (`job_inputs`) and what comes out
(`job_results`) lie beside it. The view `jobs` puts them together again for people with an SQL shell; it has the
columns that the contract names, with times as UTC text. Times in the tables are seconds since 1970 UTC.
"""

from typing import Any, ClassVar, cast

from sqlalchemy import CheckConstraint, Index, Table, text
from sqlmodel import Field, SQLModel

__all__ = [
    "NEVER",
    "api_keys",
    "attempts",
    "broker_state",
    "idempotency_keys",
    "job_files",
    "job_inputs",
    "job_results",
    "job_states",
    "metadata",
    "node_events",
    "nodes",
    "tombstones",
    "usage_days",
    "webhooks",
]

NEVER = 9e15
"""The `run_at` of a job that waits for an identical one to end; no clock gets there."""


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class JobState(SQLModel, table=True):
    """A job's place in its life. `deadline_at` is set exactly while a node holds it."""

    __tablename__: ClassVar[Any] = "job_states"
    __table_args__ = (
        CheckConstraint("(status IN ('assigned', 'running')) = (deadline_at IS NOT NULL)", name="held_has_deadline"),
        CheckConstraint("(status IN ('completed', 'failed')) = (completed_at IS NOT NULL)", name="ended_has_time"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_has_failure"),
        # What a claim reads: one range per class, in the order of handing out.
        _partial("job_ready", "class_key", "rank", "seq", where="status = 'pending' AND run_at IS NULL"),
        _partial("job_due", "run_at", where="status = 'pending' AND run_at IS NOT NULL"),
        _partial("job_give_up", "give_up_at", where="status = 'pending' AND give_up_at IS NOT NULL"),
        _partial("job_held", "node_id", where="deadline_at IS NOT NULL"),
        _partial("job_overdue", "deadline_at", where="deadline_at IS NOT NULL"),
        _partial(
            "job_cancel",
            "cancel_requested_at",
            where="cancel_requested_at IS NOT NULL AND deadline_at IS NOT NULL",
        ),
        _partial("job_expiry", "expires_at", where="expires_at IS NOT NULL"),
        _partial("job_dedupe", "dedupe_key", where="dedupe_key IS NOT NULL"),
        _partial(
            "job_single_flight",
            "dedupe_key",
            where="dedupe_key IS NOT NULL AND follows IS NULL AND completed_at IS NULL",
            unique=True,
        ),
        _partial("job_followers", "follows", where="follows IS NOT NULL"),
        _partial("job_owner", "owner", "seq", where="owner IS NOT NULL"),
        {"sqlite_autoincrement": True},
    )

    seq: int | None = Field(default=None, primary_key=True)
    """Order of arrival, never used again."""
    id: str = Field(unique=True)
    status: str
    interpreter: str
    class_key: str
    priority: int
    rank: float
    """Order within a class, fixed at submit (domain.fairshare)."""
    submitter: str | None
    owner: str | None = None
    """Whose key submitted it; NULL without keys."""
    stored_bytes: int = 0
    """What its input and result take, counted for the owner; 0 without one."""
    labels: str | None
    timeout: float
    max_retries: int
    retry_on: str
    created_at: float
    run_at: float | None
    """When a waiting job becomes claimable; NULL: now."""
    give_up_at: float | None
    attempt: int = 0
    """Attempts used up, the running one included."""
    losses: int = 0
    reruns: int = 0
    fence: int = 0
    """Grows by one at each claim and never shrinks."""
    node_id: str | None
    """Who holds it, or who ended it."""
    claim_number: int | None
    started_at: float | None
    deadline_at: float | None
    """When the broker takes it back from a node that lives."""
    cancel_requested_at: float | None
    dedupe_key: str | None
    follows: int | None
    """seq of the identical job whose end this one waits for."""
    result_of: int | None
    """seq of the identical job whose result is this one's."""
    failure: str | None
    exit_code: int | None
    completed_at: float | None
    expires_at: float | None
    dialect: str | None
    """`sandrun`: submitted as a sandrun client does, and answered in its words. NULL: the broker's own."""
    file_count: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Files that its last attempt left, kept or dropped; some may have been dropped since."""
    replicas: int | None = None
    """Of a verified job: how many nodes may give a result; NULL: one is enough."""
    quorum: int | None = None
    """How many of these have to be equal."""
    results: int | None = None
    """How many nodes have given one."""
    equal: int | None = None
    """The most that are the same."""


class JobInput(SQLModel, table=True):
    """What a node needs to run a job."""

    __tablename__: ClassVar[Any] = "job_inputs"

    seq: int = Field(primary_key=True)
    code: str
    spec: str | None
    request_id: str | None = None
    """Of the call that submitted it."""


class JobResult(SQLModel, table=True):
    """What a job printed, and what was measured."""

    __tablename__: ClassVar[Any] = "job_results"

    seq: int = Field(primary_key=True)
    output: str
    error: str
    details: str | None
    output_binary: bytes | None
    """The true bytes where the text is only a reading of them: what was printed is no UTF-8."""
    error_binary: bytes | None


class JobFile(SQLModel, table=True):
    """A file that a job was submitted with (`input`) or left (`artifact`). The content is the blob of that SHA-256."""

    __tablename__: ClassVar[Any] = "job_files"
    __table_args__ = (
        Index("job_file_content", "sha256"),
        _partial("job_file_inputs", "seq", where="kind = 'input'"),
        {"sqlite_with_rowid": False},
    )

    seq: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    path: str = Field(primary_key=True)
    """Of an artifact; of an input its place among the parts."""
    sha256: str
    size: int
    mime: str | None


class AttemptRow(SQLModel, table=True):
    """One handing of a job to one node; (seq, fence) names it."""

    __tablename__: ClassVar[Any] = "attempts"
    __table_args__ = (Index("attempt_node", "node_id", "claimed_at"), {"sqlite_with_rowid": False})

    seq: int = Field(primary_key=True)
    fence: int = Field(primary_key=True)
    number: int
    node_id: str
    session_number: int
    claimed_at: float
    started_at: float | None
    ended_at: float | None
    outcome: str | None
    failure: str | None
    exit_code: int | None
    wall_seconds: float | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    output_digest: str | None
    message: str | None
    result_digest: str | None = None
    """Of a verified job's attempt that ended with a result: equal for equal results (domain.verification)."""


class NodeRow(SQLModel, table=True):
    """A node and its present session. Secrets are stored as SHA-256."""

    __tablename__: ClassVar[Any] = "nodes"

    id: str = Field(primary_key=True)
    secret_hash: str
    session_hash: str
    session_number: int = 1
    endpoint: str
    capabilities: str
    """JSON, as the node sent it."""
    slots: int | None
    name: str | None
    version: str | None
    draining: bool = False
    registered_at: float
    last_heartbeat: float
    lease_until: float
    joined_with: str | None = None
    """The join token (its key's id) of the present session."""
    jobs_completed: int = 0
    jobs_failed: int = 0


class NodeEventRow(SQLModel, table=True):
    """Something that happened to a node (domain.words.NodeEventKind); the last 200 of each are kept, while it is."""

    __tablename__: ClassVar[Any] = "node_events"
    __table_args__ = (Index("node_event", "node_id", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    node_id: str
    at: float
    kind: str
    session_number: int | None
    attempts: int
    """How many were taken back from it."""
    reason: str | None
    whose: str | None
    """The key of who did it."""


class WebhookRow(SQLModel, table=True):
    """The end of a job, owed to its callback_url: written with the job, kept until it is delivered or given up."""

    __tablename__: ClassVar[Any] = "webhooks"
    __table_args__ = (
        Index("webhook_job", "job_id"),
        _partial("webhook_owed", "state", where="state = 'owed'"),
        {"sqlite_with_rowid": False},
    )

    id: str = Field(primary_key=True)
    job_id: str
    url: str
    state: str
    attempts: int
    created_at: float
    next_at: float | None
    payload: str | None
    deliveries: str


class Tombstone(SQLModel, table=True):
    """The id of a job that was deleted after RESULT_TTL, so that it is answered with 410 for a while."""

    __tablename__: ClassVar[Any] = "tombstones"
    __table_args__ = (Index("tombstone_age", "deleted_at"), {"sqlite_with_rowid": False})

    id: str = Field(primary_key=True)
    deleted_at: float
    owner: str | None = None


class IdempotencyKey(SQLModel, table=True):
    """A client's key, what it was used for, and which jobs it made."""

    __tablename__: ClassVar[Any] = "idempotency_keys"
    __table_args__ = (Index("idempotency_age", "created_at"), {"sqlite_with_rowid": False})

    key: str = Field(primary_key=True)
    body_hash: str
    job_ids: str
    """JSON list."""
    created_at: float


class ApiKey(SQLModel, table=True):
    """A key. Of its secret there is a SHA-256 only; after a rotation the old one is good until `old_until`."""

    __tablename__: ClassVar[Any] = "api_keys"

    id: str = Field(primary_key=True)
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
    """JSON of limits that differ from the settings'."""


class UsageDay(SQLModel, table=True):
    """What one owner's attempts used on one day (UTC), by outcome; `submitted` and `cached` count jobs instead."""

    __tablename__: ClassVar[Any] = "usage_days"
    __table_args__ = ({"sqlite_with_rowid": False},)

    day: str = Field(primary_key=True)
    owner: str = Field(primary_key=True)
    outcome: str = Field(primary_key=True)
    count: int
    cpu_seconds: float
    wall_seconds: float
    memory_mb_seconds: float
    bytes_in: int
    bytes_out: int


class BrokerState(SQLModel, table=True):
    """One row: the latest time that the broker saw, so that a clock set back cannot shorten or prolong a lease."""

    __tablename__: ClassVar[Any] = "broker_state"

    id: int = Field(primary_key=True)
    clock: float


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]  # SQLModel does not declare it


metadata = SQLModel.metadata
job_states = _table(JobState)
job_inputs = _table(JobInput)
job_results = _table(JobResult)
job_files = _table(JobFile)
attempts = _table(AttemptRow)
nodes = _table(NodeRow)
node_events = _table(NodeEventRow)
tombstones = _table(Tombstone)
idempotency_keys = _table(IdempotencyKey)
broker_state = _table(BrokerState)
api_keys = _table(ApiKey)
usage_days = _table(UsageDay)
webhooks = _table(WebhookRow)
