"""What clients send."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from broker.domain.paths import check_tree, safe_path
from broker.domain.verification import LARGEST, SMALLEST, default_quorum
from broker.wire.fields import (
    Argument,
    Base64,
    Interpreter,
    Labels,
    NoNul,
    Pattern,
    RelativePath,
    ShortText,
    Variable,
    VariableName,
)

__all__ = ["JobIds", "Prefer", "Requires", "SubmitBatch", "SubmitJob", "UploadJob", "Verify"]

LONGEST_BATCH = 1000
"""What BROKER_MAX_BATCH may be at most."""
MOST_TEXT_BYTES = 1024 * 1024
"""Of all arguments, and of all variables, as sandrun takes them."""

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def _only_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a number of seconds from now, at most a year, or an ISO 8601 time")
    return value


def _no_control(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError("must be a URL without spaces and control characters")
    return text


def _one_name_each(value: object) -> object:
    """Two spellings of a path would be one key, and the first file gone without a word."""
    if not isinstance(value, dict):
        return value
    try:
        names = [safe_path(name) for name in value]
    except ValueError:
        return value  # a wrong name is refused as such
    check_tree(names)
    return value


Time = Annotated[datetime, Field(strict=False), BeforeValidator(_only_text)]
Moment = Annotated[float, Field(ge=0, le=366 * 86400)] | Time
"""Seconds from now, or a time with its zone (ISO 8601)."""


class Near(BaseModel):
    """A place on Earth, in degrees."""

    model_config = _STRICT

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Requires(BaseModel):
    """What a node must offer to get the job. Interpreter and memory are implied."""

    model_config = _STRICT

    gpu: bool = False
    min_cpu_cores: float | None = Field(None, gt=0, le=4096)
    labels: Labels = Field(default_factory=dict)
    region: ShortText | None = None


class Prefer(BaseModel):
    """Which of several free nodes should get the job; never a reason to wait."""

    model_config = _STRICT

    region: ShortText | None = None
    near: Near | None = None


class FileContent(BaseModel):
    """A file that is no text."""

    model_config = _STRICT

    base64: Base64


class Verify(BaseModel):
    """Run the job on several nodes until enough of them came to the same result."""

    model_config = _STRICT

    replicas: int = Field(ge=SMALLEST, le=LARGEST, description="How many nodes may give a result, one after the other.")
    quorum: int | None = Field(
        None, ge=SMALLEST, le=LARGEST, description="How many results must be equal; the default is more than half."
    )

    @property
    def needed(self) -> int:
        """How many equal results it takes."""
        return default_quorum(self.replicas) if self.quorum is None else self.quorum

    @model_validator(mode="after")
    def _can_be_reached(self) -> "Verify":
        if self.needed > self.replicas:
            raise ValueError(f"quorum is at most replicas, here {self.replicas}")
        return self


class SubmitJob(BaseModel):
    """A job: code for an interpreter, or files with an entrypoint."""

    model_config = _STRICT

    code: NoNul | None = Field(
        None, min_length=1, description="The program. Optional when `files` and `entrypoint` are given."
    )
    interpreter: Interpreter = "python3"
    timeout: float | None = Field(
        None, gt=0, description="Seconds of run time; the default and the most is JOB_TIMEOUT."
    )
    args: list[Argument] = Field(default_factory=list, max_length=1000)
    stdin: str | None = None
    env: dict[VariableName, Variable] = Field(default_factory=dict, max_length=1000)
    files: Annotated[dict[RelativePath, str | FileContent], BeforeValidator(_one_name_each)] = Field(
        default_factory=dict, max_length=1000
    )
    entrypoint: RelativePath | None = None
    outputs: list[Pattern] | None = Field(None, max_length=100)
    memory_mb: int | None = Field(None, ge=16, le=1024 * 1024)
    cpu_seconds: float | None = Field(None, gt=0, le=14_400)
    priority: int = Field(5, ge=0, le=9, description="9 is the most urgent.")
    max_retries: int | None = Field(None, ge=0, le=100, description="The default is MAX_RETRIES.")
    retry_on: list[Literal["exit", "timeout", "memory"]] = Field(default_factory=list, max_length=3)
    requires: Requires | None = None
    prefer: Prefer | None = None
    deadline: Moment | None = Field(None, description="When a job that still waits is given up.")
    not_before: Moment | None = Field(None, description="When the job may start.")
    cache: bool = Field(False, description="An identical earlier success, if it is still kept, is the answer.")
    verify: Verify | None = Field(None, description="Several nodes have to come to the same result.")
    labels: Labels = Field(default_factory=dict)
    callback_url: Annotated[str, Field(max_length=2000), AfterValidator(_no_control)] | None = Field(
        None, description="Told when the job has ended."
    )
    submitter: ShortText | None = Field(None, description="Whose job it is: submitters get fair shares.")

    @model_validator(mode="after")
    def _has_a_program(self) -> "SubmitJob":
        if self.code is None and not (self.files and self.entrypoint):
            raise ValueError("code is missing: give code, or files and an entrypoint")
        if self.entrypoint is not None and self.code is None and self.entrypoint not in self.files:
            raise ValueError("entrypoint names no file in files")
        if self.entrypoint is not None and self.code is not None and self.entrypoint in self.files:
            raise ValueError("code and files both hold the entrypoint: give one of them")
        return self

    @model_validator(mode="after")
    def _fits_a_command_line(self) -> "SubmitJob":
        if sum(map(len, self.args)) > MOST_TEXT_BYTES:
            raise ValueError(f"args have more than {MOST_TEXT_BYTES} characters together")
        if sum(len(name) + len(value) for name, value in self.env.items()) > MOST_TEXT_BYTES:
            raise ValueError(f"env has more than {MOST_TEXT_BYTES} characters together")
        return self


class UploadJob(SubmitJob):
    """A job whose program came as files: the manifest of a multipart submit. Its fields beyond SubmitJob's are
    sandrun's."""

    environment: ShortText | None = Field(None, description="Name of a template of the nodes' sandrun.")
    processes: int | None = Field(None, ge=1, le=100_000)
    open_files: int | None = Field(None, ge=1, le=1_000_000)
    disk_mb: int | None = Field(None, ge=1, le=1024 * 1024)
    file_size_mb: int | None = Field(None, ge=1, le=1024 * 1024)
    inodes: int | None = Field(None, ge=1, le=10_000_000)
    output_mb: int | None = Field(None, ge=1, le=1024 * 1024)

    @model_validator(mode="after")
    def _has_a_program(self) -> "UploadJob":
        if self.code is not None or self.files:
            raise ValueError("code and files have no place in a manifest: the program is among the uploaded files")
        return self


class SubmitBatch(BaseModel):
    """Jobs that are accepted together or not at all."""

    model_config = _STRICT

    jobs: Annotated[list[SubmitJob], FailFast()] = Field(min_length=1, max_length=LONGEST_BATCH)


class JobIds(BaseModel):
    """Which jobs are asked for."""

    model_config = _STRICT

    job_ids: Annotated[list[Annotated[str, Field(max_length=200)]], FailFast()] = Field(
        min_length=1, max_length=LONGEST_BATCH
    )
