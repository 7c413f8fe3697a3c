"""What nodes' calls answer."""

from pydantic import Field

from broker.api.answers.base import Answer
from broker.domain.words import LostReason

__all__ = [
    "BeatAnswer",
    "ClaimAnswer",
    "ClaimedJob",
    "CompleteAnswer",
    "CompleteBatchAnswer",
    "CompletedJob",
    "FollowRef",
    "Lost",
    "MissingAnswer",
    "ProgressAnswer",
    "Ref",
    "RegisterAnswer",
    "ReleaseAnswer",
    "StartAnswer",
    "StatusOkAnswer",
    "Upload",
]


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
    request_id: str | None = Field(description="X-Request-Id of the call that submitted it, for the node's log.")


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
