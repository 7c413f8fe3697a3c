"""The form of every answer, for the OpenAPI document. Answers are built in `views` and not validated on the way."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Cancelled",
    "Environments",
    "Health",
    "Logs",
    "Outputs",
    "Root",
    "Stats",
    "Status",
    "Submitted",
]

JobId = Annotated[str, Field(examples=["job_0123456789abcdef0123456789abcdef"])]
JobWord = Literal["queued", "running", "completed", "failed"]
FailureWord = Literal[
    "exit", "signal", "timeout", "cpu", "memory", "output", "disk", "processes", "cancelled", "platform"
]
Encoding = Literal["utf-8", "base64"]


class Answer(BaseModel):
    """Nothing beyond what is listed."""

    model_config = ConfigDict(extra="forbid")


class Slots(Answer):
    """How many jobs run at once."""

    total: int
    free: int


class Layer(Answer):
    """One layer of the sandbox, as the self-test found it."""

    name: str
    holds: bool
    required: bool
    proof: str
    mend: str | None = None


class SelfTest(Answer):
    """Whether every required layer holds."""

    passed: bool
    layers: list[Layer]


class Root(Answer):
    """What the node is and offers."""

    service: Literal["sandrun"]
    status: Literal["running", "unavailable"]
    description: str
    privacy: str
    version: str
    extensions: list[str]
    slots: Slots
    isolation: Literal["gvisor", "namespaces", "landlock", "none"]
    self_test: SelfTest
    interpreters: Annotated[dict[str, str], Field(description="Version by name.")]
    memory_mode: Literal["cgroup", "watchdog"]
    limits: Annotated[dict[str, Any], Field(description="Default and maximum of each limit of a manifest, and others.")]
    error: Annotated[str | None, Field(description="Why no job is run, and what mends it.")] = None


class Health(Answer):
    """A sign of life."""

    status: Literal["healthy"]
    worker_id: str | None


class Submitted(Answer):
    """A job was queued."""

    job_id: JobId
    status: Literal["queued"]
    queue_position: Annotated[int, Field(description="0: it starts at once.")]
    ignored_fields: Annotated[list[str] | None, Field(description="Of the manifest, that mean nothing here.")] = None


class Cancelled(Answer):
    """Where the job stands after the cancellation."""

    job_id: JobId
    status: JobWord


class LimitHit(Answer):
    """The limit that ended the job, in the unit of the manifest field."""

    name: str
    value: float
    peak: float


class ExecutionMetadata(Answer):
    """Figures and verdict."""

    cpu_seconds: float
    memory_peak_bytes: int
    memory_peak_mb: float
    processes_peak: int
    wall_time_ms: float
    exit_code: int | None
    signal: int | None
    environment: str
    interpreter: str
    entrypoint: str
    failure: FailureWord | None
    limit_hit: LimitHit | None
    message: str | None
    stdout_bytes: int
    stderr_bytes: int


class StatusFile(Answer):
    """A file that was kept."""

    size_bytes: int
    sha256: str
    type: str


class DroppedFile(Answer):
    """A file that was not kept, and why."""

    path: str
    size_bytes: int | None
    reason: str


class WorkerMetadata(Answer):
    """Who vouches for the result."""

    worker_id: str | None
    signature: str | None


class Output(Answer):
    """Both streams. `*_base64` is there when the bytes are no UTF-8, or instead of text when it was asked for."""

    stdout: str | None = None
    stdout_encoding: Encoding | None = None
    stdout_base64: str | None = None
    stdout_bytes: int
    stdout_cut_bytes: int | None = None
    stdout_cut_at: int | None = None
    stdout_from: int | None = None
    stdout_next: int | None = None
    stderr: str | None = None
    stderr_encoding: Encoding | None = None
    stderr_base64: str | None = None
    stderr_bytes: int
    stderr_cut_bytes: int | None = None
    stderr_cut_at: int | None = None
    stderr_from: int | None = None
    stderr_next: int | None = None


class Logs(Output):
    """What the job printed."""

    status: JobWord


class Status(Answer):
    """Where a job stands. The fields of its output are there when `logs=true` asked for them."""

    model_config = ConfigDict(extra="allow")

    job_id: JobId
    status: JobWord
    queue_position: int
    execution_metadata: ExecutionMetadata
    job_hash: str
    output_files: dict[str, StatusFile]
    output_notes: list[str]
    output_dropped: Annotated[list[DroppedFile], Field(description="The first hundred that were not kept.")]
    worker_metadata: WorkerMetadata
    stdout: str | None = None
    stderr: str | None = None


class OutputFile(Answer):
    """A file that was kept, and where it can be had."""

    name: str
    size: int
    size_formatted: str
    type: str
    mime_type: str
    sha256: str
    download_url: str


class Outputs(Answer):
    """The files that a job left."""

    job_id: JobId
    status: JobWord
    total_files: int
    files: list[OutputFile]
    notes: list[str]


class Quota(Answer):
    """Where a client stands with its rate limits."""

    used: float
    limit: float | None
    available: float
    active_jobs: int
    can_submit: bool
    reason: str


class System(Answer):
    """How busy the node is."""

    queue_length: int
    active_jobs: int


class Stats(Answer):
    """Quota and load."""

    your_quota: Quota
    system: System


class EnvironmentStats(Answer):
    """Figures on prepared environments."""

    total_templates: int
    cached_environments: int
    total_uses: int
    disk_usage_mb: float


class Environments(Answer):
    """Prepared environments."""

    templates: list[str]
    stats: EnvironmentStats
