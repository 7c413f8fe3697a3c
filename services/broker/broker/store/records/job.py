"""Jobs as they are stored and listed, and what came of them."""

from dataclasses import dataclass

from broker.domain.words import Failure, JobStatus

__all__ = ["Job", "JobFilter", "JobInput", "Result", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose content is a blob. `path`: an artifact's; for an input its place among the parts."""

    path: str
    sha256: str
    size: int
    mime: str | None = None


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

    @property
    def verify(self) -> dict[str, int | None] | None:
        """How far its verification is, as clients and webhooks are told; None when it is not to be verified."""
        if self.quorum is None:
            return None
        asked = {"replicas": self.replicas, "quorum": self.quorum}
        return {**asked, "results": self.results or 0, "equal": self.equal or 0}


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
