"""The seam between the supervisor and whatever builds a sandbox.

The supervisor (`supervise`) knows only these two protocols. `bwrap` satisfies them with bubblewrap; a launcher that
forks from a prepared process, or one that drives gVisor, is another module with the same two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sandrun.sandbox.spec import SandboxSpec

__all__ = ["LaunchError", "Launcher", "Measure", "ProgramEnd", "Sandbox", "TreeUsage"]


class LaunchError(Exception):
    """The sandbox could not be built; the program did not run. The text says which step failed."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What the process tree uses at one moment."""

    cpu_seconds: float
    memory_bytes: int
    tasks: int  #: processes and threads, without the sandbox's own init
    disk_bytes: int  #: beyond the uploaded files
    inodes: int  #: beyond the uploaded files
    disk_full: bool  #: one of the sandbox's file systems has no free block left
    memory_exceeded: bool  #: by our measure, or by the kernel's where it enforces the limit


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How the program itself ended, from the kernel's record. Both None: nobody saw it."""

    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """The kernel's account of a tree that has ended. Zero where the kernel kept none."""

    cpu_seconds: float = 0.0
    memory_peak_bytes: int = 0


class Sandbox(Protocol):
    """One sandbox with one program in it, used by the thread that started it."""

    stdout_fd: int  #: read end, non-blocking; ours to read until the end of file
    stderr_fd: int
    ended_fd: int  #: becomes readable when the program has ended
    job_fd: int  #: the job's working directory; its content outlives the processes until `close`

    def go(self) -> None:
        """Let the program run. Until then nothing of it has been executed."""

    def measure(self) -> Measure:
        """Sample the tree. Cheap enough for every few milliseconds."""

    def program_end(self) -> ProgramEnd:
        """How the program ended. To be asked once `ended_fd` is readable and before `kill`."""

    def kill(self) -> None:
        """End every process of the sandbox. Returns at once; harmless when they have ended already."""

    def reap(self, deadline_seconds: float) -> TreeUsage | None:
        """Wait until no process is left. None when some are still there after `deadline_seconds`."""

    def close(self) -> None:
        """Give back every descriptor. Frees the job's files; may take a while when there are many."""


class Launcher(Protocol):
    """Builds sandboxes of one isolation tier."""

    tier: str

    def start(self, spec: SandboxSpec) -> Sandbox:
        """Build a sandbox with the program ready to go. Raises LaunchError.

        Must be called from a thread that outlives the sandbox: the kernel ties the sandbox's life to it.
        """
