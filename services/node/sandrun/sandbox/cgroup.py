"""A cgroup for each job, where the operator delegated a subtree to us: then the kernel enforces the memory limit.

Version 2: one directory with the memory controller. Version 1: a directory that is a memory cgroup itself, or one that
has `memory` and optionally `cpuacct` below it (bind mounts of one delegated directory of each hierarchy).
docs/sandrun.md says how to delegate either. Without one `find` returns None and the watchdog of `memory` measures
instead.
"""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

from loglines import EventLog

__all__ = ["CgroupParent", "JobCgroup", "find"]

log = EventLog(__name__)

PREFIX = "sandrun-job-"
PROBE = "sandrun-probe"
REMOVE_SECONDS = 2.0
REMOVE_PAUSE_SECONDS = 0.005
MICROSECOND, NANOSECOND = 1e-6, 1e-9


class JobCgroup(ABC):
    """The cgroup of one job, from before its program runs until after its last process."""

    def __init__(self, directories: list[Path]) -> None:
        self._directories = directories

    def add(self, pid: int) -> None:
        """Put a process, and with it all that it will start, under the limits. Raises OSError."""
        for directory in self._directories:
            (directory / "cgroup.procs").write_text(str(pid), encoding="ascii")

    @abstractmethod
    def limit_memory(self, limit_bytes: int) -> None:
        """Set the limit. Raises OSError."""

    @abstractmethod
    def memory_bytes(self) -> int:
        """Memory that could not be given back now: anonymous and shared, tmpfs files included."""

    @abstractmethod
    def out_of_memory(self) -> bool:
        """Whether the kernel had to kill a process of the job at its limit."""

    @abstractmethod
    def cpu_seconds(self) -> float:
        """CPU time of everything that ever ran in it; 0 where the hierarchy does not count it."""

    def remove(self) -> None:
        """Remove it; its processes are dead. The kernel may take a moment to let go."""
        deadline = time.monotonic() + REMOVE_SECONDS
        for directory in self._directories:
            while True:
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError as error:
                    if time.monotonic() > deadline:
                        log.warning("a cgroup cannot be removed", path=directory, error=error)
                        break
                    time.sleep(REMOVE_PAUSE_SECONDS)
                else:
                    break


class CgroupParent(ABC):
    """The delegated place where job cgroups are made."""

    version: int

    @abstractmethod
    def create(self, name: str) -> JobCgroup:
        """A new cgroup for a job. Raises OSError."""

    def job(self, name: str, memory_bytes: int) -> JobCgroup:
        """A new cgroup with its limit set. Raises OSError; nothing is left then."""
        made = self.create(PREFIX + name)
        try:
            made.limit_memory(memory_bytes)
        except OSError:
            made.remove()
            raise
        return made

    def check(self) -> None:
        """Make and remove one. Raises OSError where the delegation is not complete."""
        made = self.create(f"{PROBE}-{os.getpid()}")
        try:
            made.limit_memory(64 << 20)
            made.memory_bytes()
            made.out_of_memory()
        finally:
            made.remove()


class _JobCgroup2(JobCgroup):
    def __init__(self, directory: Path) -> None:
        super().__init__([directory])
        self._directory = directory

    def limit_memory(self, limit_bytes: int) -> None:
        (self._directory / "memory.max").write_text(str(limit_bytes), encoding="ascii")
        with contextlib.suppress(FileNotFoundError):  # no swap accounting
            (self._directory / "memory.swap.max").write_text("0", encoding="ascii")
        with contextlib.suppress(FileNotFoundError):  # kernel before 4.19
            (self._directory / "memory.oom.group").write_text("1", encoding="ascii")

    def memory_bytes(self) -> int:
        counts = _counts(self._directory / "memory.stat")
        return counts.get("anon", 0) + counts.get("shmem", 0)

    def out_of_memory(self) -> bool:
        return _counts(self._directory / "memory.events").get("oom_kill", 0) > 0

    def cpu_seconds(self) -> float:
        return _counts(self._directory / "cpu.stat").get("usage_usec", 0) * MICROSECOND


class _Parent2(CgroupParent):
    version = 2

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        enabled = (directory / "cgroup.subtree_control").read_text(encoding="ascii").split()
        if "memory" not in enabled:
            (directory / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        _remove_stale(directory)

    def create(self, name: str) -> JobCgroup:
        directory = self._directory / name
        directory.mkdir()
        return _JobCgroup2(directory)


class _JobCgroup1(JobCgroup):
    def __init__(self, memory: Path, cpuacct: Path | None) -> None:
        super().__init__([memory] if cpuacct is None else [memory, cpuacct])
        self._memory = memory
        self._cpuacct = cpuacct

    def limit_memory(self, limit_bytes: int) -> None:
        (self._memory / "memory.limit_in_bytes").write_text(str(limit_bytes), encoding="ascii")
        with contextlib.suppress(OSError):  # no swap accounting
            (self._memory / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes), encoding="ascii")

    def memory_bytes(self) -> int:
        counts = _counts(self._memory / "memory.stat")
        return counts.get("rss", 0) + counts.get("shmem", 0)

    def out_of_memory(self) -> bool:
        return _counts(self._memory / "memory.oom_control").get("oom_kill", 0) > 0

    def cpu_seconds(self) -> float:
        if self._cpuacct is None:
            return 0.0
        return int((self._cpuacct / "cpuacct.usage").read_text(encoding="ascii")) * NANOSECOND


class _Parent1(CgroupParent):
    version = 1

    def __init__(self, memory: Path, cpuacct: Path | None) -> None:
        self._memory = memory
        self._cpuacct = cpuacct
        for directory in (memory, cpuacct):
            if directory is not None:
                _remove_stale(directory)

    def create(self, name: str) -> JobCgroup:
        memory = self._memory / name
        memory.mkdir()
        cpuacct = None
        if self._cpuacct is not None:
            cpuacct = self._cpuacct / name
            try:
                cpuacct.mkdir()
            except OSError:
                memory.rmdir()
                raise
        return _JobCgroup1(memory, cpuacct)


def find(configured: str) -> CgroupParent | None:
    """The delegated subtree: the configured one (OSError when it cannot be used), or our own cgroup if that is ours."""
    if configured:
        parent = _open(Path(configured))
        parent.check()
        return parent
    own = _own_cgroup()
    if own is None or not os.access(own / "cgroup.subtree_control", os.W_OK):
        return None
    try:
        parent = _open(own)
        parent.check()
    except OSError as error:
        # Typically EBUSY: a cgroup with processes in it, ours among them, cannot have children with limits.
        log.info("no cgroups for jobs", below=own, error=error)
        return None
    return parent


def _open(directory: Path) -> CgroupParent:
    if (directory / "cgroup.subtree_control").exists():
        return _Parent2(directory)
    memory = directory if (directory / "memory.limit_in_bytes").exists() else directory / "memory"
    if not (memory / "memory.limit_in_bytes").exists():
        raise FileNotFoundError(f"{directory} is neither a cgroup nor has a directory 'memory' that is one")
    cpuacct = directory / "cpuacct"
    return _Parent1(memory, cpuacct if (cpuacct / "cpuacct.usage").exists() else None)


def _own_cgroup() -> Path | None:
    """Our cgroup in the unified hierarchy, where that is mounted."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("0::/"):
            path = Path("/sys/fs/cgroup") / line.removeprefix("0::/")
            return path if (path / "cgroup.controllers").exists() else None
    return None


def _remove_stale(directory: Path) -> None:
    """What a crashed predecessor left; its jobs died with it."""
    for entry in directory.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            entry.rmdir()


def _counts(path: Path) -> dict[str, int]:
    """A flat keyed file: a name and a number on each line."""
    counts = {}
    for line in path.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if value.isdecimal():
            counts[name] = int(value)
    return counts
