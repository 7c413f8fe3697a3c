"""What calls about results, output and files answer."""

from typing import Literal

from pydantic import Field

from broker.api.answers.base import Answer
from broker.api.answers.jobs import Limit, Usage, VerifiedAnswer, VerifyAnswer
from broker.domain.words import Failure, JobStatus

__all__ = [
    "ArtifactAnswer",
    "DroppedArtifactAnswer",
    "LogsAnswer",
    "NoResult",
    "NotEndedAnswer",
    "ResultAnswer",
    "ResultsAnswer",
]


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
