"""What travels through the agent: a claimed job, and what became of it."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.errors import BadAnswerError

# docs/node-protocol.md, POST /complete
FAILURES = frozenset(
    {"exit", "signal", "timeout", "cpu", "memory", "output", "disk", "processes", "cancelled", "platform"}
)


_ODD = re.compile(r"[^A-Za-z0-9._-]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Upload(NamedTuple):
    """A part of the upload that a job came as."""

    name: str
    sha256: str
    size: int


class Key(NamedTuple):
    """One attempt for good: a job and the fence of its claim."""

    job_id: str
    fence: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a log line says of it."""
        return {"job": self.job_id, "fence": self.fence}

    @property
    def request_id(self) -> str:
        """What calls to sandrun about it, and lines in both logs, are found by. Fit for a header, whatever the id."""
        return f"{_ODD.sub('_', self.job_id)[:100]}.{self.fence}"

    def wire(self) -> dict[str, Any]:
        """As the broker's lists hold it."""
        return {"job_id": self.job_id, "fence": self.fence}


def read_keys(value: object) -> list[Key]:
    """The (job, fence) pairs of one of the broker's lists; entries that are none are left out."""
    keys = []
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("job_id"), str) and type(entry.get("fence")) is int:
            keys.append(Key(entry["job_id"], entry["fence"]))
    return keys


@dataclass(frozen=True)
class Job:
    """A job as the broker's claim answer gives it. Times in seconds, `memory_mb` in MiB; None: the default."""

    key: Key
    code: str
    interpreter: str
    args: tuple[str, ...] = ()
    stdin: str = ""
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    entrypoint: str = ""
    outputs: tuple[str, ...] = ()
    timeout: float = 300.0
    memory_mb: int | None = None
    cpu_seconds: float | None = None
    environment: str = ""
    uploads: tuple[Upload, ...] = ()
    limits: dict[str, Any] = field(default_factory=dict)
    """Further limits in sandrun's words."""
    follow: bool = False
    attempt: int = 1
    request_id: str = ""
    """Of the call that submitted it; empty when the broker does not say."""
    unreadable: str = ""
    """Why the rest could not be read; such a job is not run but still has to be answered for."""

    @classmethod
    def from_wire(cls, value: Any) -> "Job":
        """Read one entry of a claim answer; BadAnswerError when it does not even name an attempt."""
        try:
            key = Key(_text(value["id"]), int(value["fence"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadAnswerError(f"a claimed job has no usable id and fence: {type(error).__name__}") from error
        try:
            return cls(
                key=key,
                code=_text(value.get("code") or ""),
                interpreter=_text(value.get("interpreter") or "python3"),
                args=tuple(_text(arg) for arg in value.get("args") or ()),
                stdin=_text(value.get("stdin") or ""),
                env={_text(k): _text(v) for k, v in (value.get("env") or {}).items()},
                files=dict(value.get("files") or {}),
                entrypoint=_text(value.get("entrypoint") or ""),
                outputs=tuple(_text(glob) for glob in value.get("outputs") or ()),
                timeout=_finite(value.get("timeout") or 300.0),
                memory_mb=None if value.get("memory_mb") is None else int(value["memory_mb"]),
                cpu_seconds=None if value.get("cpu_seconds") is None else _finite(value["cpu_seconds"]),
                environment=_text(value.get("environment") or ""),
                uploads=tuple(_upload(entry) for entry in value.get("uploads") or ()),
                limits={_text(name): _finite(limit) for name, limit in (value.get("limits") or {}).items()},
                follow=value.get("follow") is True,
                attempt=int(value.get("attempt") or 1),
                request_id=_request_id(value.get("request_id")),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            return cls(key=key, code="", interpreter="", unreadable=f"{type(error).__name__}: {error}"[:200])


def _request_id(value: Any) -> str:
    """Nothing else than an id gets into a header."""
    return value if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else ""


def _upload(entry: Any) -> Upload:
    upload = Upload(_text(entry["name"]), _text(entry["sha256"]), int(entry["size"]))
    if not re.fullmatch("[0-9a-f]{64}", upload.sha256) or upload.size < 0:
        raise ValueError("an upload without a proper checksum or size")
    return upload


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no limit")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


@dataclass(frozen=True)
class Completion:
    """What became of one attempt, in the fields of POST /complete."""

    key: Key
    failure: str | None
    exit_code: int | None = None
    output: str = ""
    error: str = ""
    limit: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    signal: int | None = None
    output_bytes: int | None = None
    error_bytes: int | None = None
    message: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that only some completions have: output_base64, output_cut_at, execution …"""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    artifacts_dropped: list[dict[str, Any]] = field(default_factory=list)

    def wire(self) -> dict[str, Any]:
        """As POST /complete takes it, without node and session."""
        body: dict[str, Any] = {
            **self.key.wire(),
            "output": self.output,
            "error": self.error,
            "exit_code": self.exit_code,
            "failure": self.failure,
            "limit": self.limit,
            "usage": self.usage,
            "signal": self.signal,
            "output_bytes": self.output_bytes,
            "error_bytes": self.error_bytes,
        }
        if self.message is not None:
            body["message"] = self.message
        if self.artifacts:
            body["artifacts"] = self.artifacts
        if self.artifacts_dropped:
            body["artifacts_dropped"] = self.artifacts_dropped
        body |= self.extra
        return body


def platform_failure(key: Key, message: str) -> Completion:
    """No result: the attempt failed through no fault of the job."""
    return Completion(key=key, failure="platform", message=message[:500])


def rejected(key: Key, message: str) -> Completion:
    """The job can be run nowhere: what it was submitted with is wrong."""
    return Completion(key=key, failure="rejected", message=message[:500])


def cancelled(key: Key) -> Completion:
    """The job was ended because its owner asked."""
    return Completion(key=key, failure="cancelled")
