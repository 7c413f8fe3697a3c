"""Jobs as they are submitted. Times are seconds since 1970 UTC, here and in the modules beside."""

from dataclasses import dataclass
from typing import NamedTuple

from broker.domain.words import JobStatus
from broker.store.records.job import StoredFile

__all__ = ["Idempotency", "NewJob", "OwedWebhook", "Submission", "SubmitOutcome", "SubmittedJob", "Webhook"]


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


class OwedWebhook(NamedTuple):
    """What is known at start of one that is owed, without what it says. `has_payload`: its job's end was noted."""

    id: str
    job_id: str
    next_at: float | None
    has_payload: bool
    job_ended: bool
    """Or is gone."""


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
