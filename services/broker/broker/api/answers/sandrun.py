"""What sandrun's own calls answer."""

from typing import Any, Literal

from broker.api.answers.base import Answer
from broker.api.answers.jobs import JobAnswer, Limit

__all__ = ["EnvironmentsAnswer", "OutputFile", "OutputsAnswer", "SandrunJobAnswer", "StatsAnswer"]


class ExecutionAnswer(Answer):
    """What a run took."""

    cpu_seconds: float
    memory_peak_bytes: int
    memory_peak_mb: float
    wall_time_ms: float
    exit_code: int | None
    environment: str
    interpreter: str
    limit_hit: Limit | None


class OutputHash(Answer):
    """A file that a job left."""

    size_bytes: int
    sha256: str
    type: str


class SandrunJobAnswer(JobAnswer):
    """A job that was submitted as sandrun takes it: in sandrun's words, with the broker's own fields beside them."""

    status: Literal["queued", "running", "completed", "failed"]  # type: ignore[assignment]  # other words on purpose
    queue_position: int
    execution_metadata: ExecutionAnswer
    job_hash: str | None
    output_files: dict[str, OutputHash]
    worker_metadata: dict[Literal["worker_id", "signature"], str | None]


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
