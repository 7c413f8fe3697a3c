"""What a sandbox is asked to run and how it may end: plain records without I/O, shared by launchers and supervisor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Failure", "InputFile", "LimitHit", "Limits", "Outcome", "SandboxSpec"]

MIB = 1024 * 1024


class Failure(StrEnum):
    """Why a job did not complete. A job without any of these ended with exit code 0."""

    EXIT = "exit"  #: the program ended by itself with another exit code
    SIGNAL = "signal"  #: a signal that we did not send ended the program
    TIMEOUT = "timeout"  #: wall clock
    CPU = "cpu"  #: CPU time of the whole process tree
    MEMORY = "memory"  #: memory of the whole process tree
    OUTPUT = "output"  #: bytes on standard output and standard error together
    DISK = "disk"  #: bytes or files in /job and /tmp
    PROCESSES = "processes"  #: processes and threads at once
    CANCELLED = "cancelled"  #: somebody asked for the end of the job
    PLATFORM = "platform"  #: the node's fault, not the program's: worth trying on another node


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use. Each holds for its process tree as a whole unless it says otherwise."""

    timeout: float  #: seconds of wall clock, from the program's first instruction
    memory_bytes: int
    cpu_seconds: float | None  #: None: bounded by the wall clock alone
    processes: int  #: processes and threads at the same time
    open_files: int  #: per process
    file_size_bytes: int  #: the largest single file
    disk_bytes: int  #: /job and /tmp together, beyond the uploaded files
    inodes: int  #: files and directories in /job and /tmp together, beyond the uploaded ones
    output_bytes: int  #: standard output and standard error together
    output_keep_bytes: int  #: how much of each of the two is kept (half from the start, half from the end)


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the upload. `path` is relative, normalised and safe (see `archive`)."""

    path: str
    data: bytes
    executable: bool = False
    link: str | None = None  #: the target, when this is a symbolic link within the upload


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One program to run: an absolute command, its environment, its input, and what it may use."""

    command: Sequence[str]
    env: Mapping[str, str]
    limits: Limits
    stdin: bytes = b""
    files: Sequence[InputFile] = ()


@dataclass(frozen=True, slots=True)
class LimitHit:
    """The limit that ended a job. `value` and `peak` are in the unit of the manifest field called `name`."""

    name: str
    value: float
    peak: float


@dataclass(slots=True)
class Outcome:
    """How a run ended, from the supervisor's own record: never from text or exit codes that a program can forge."""

    failure: Failure | None = None
    limit_hit: LimitHit | None = None
    exit_code: int | None = None  #: the program's own; None when it did not end by itself
    signal: int | None = None  #: the signal that ended the program, ours or not
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_peak_bytes: int = 0
    processes_peak: int = 0
    message: str | None = None  #: for `platform`: what went wrong, one sentence
    notes: list[str] = field(default_factory=list)
