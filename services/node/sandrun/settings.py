"""What an operator can set: flags beat `SANDRUN_*` environment variables, which beat the defaults here."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sandrun.sandbox.container import ContainerMemory, cpu_quota, pids_limit
from sandrun.sandbox.spec import MIB

__all__ = ["TIERS", "Range", "Settings", "SettingsError"]

#: The service takes 70 MB; the rest is for uploads, kept output and collected files, which are memory too on a tmpfs.
SERVICE_MEMORY_MB = 256
DEFAULT_MEMORY_MB, MOST_MEMORY_MB = 512, 2048  # as the original sandrun

#: Beside a job's own: bubblewrap, its init, and what the job may exceed its limit by before it is ended.
SANDBOX_PROCESSES = 20
SERVICE_PROCESSES = 100  # threads of this service and of the agent beside it
MOST_PROCESSES = 256

#: Limits with a default and a maximum each.
LIMITS = ("timeout", "memory_mb", "processes", "open_files", "disk_mb", "inodes", "output_mb")

TIERS = ("gvisor", "namespaces", "landlock")  #: strongest first


class SettingsError(Exception):
    """A setting has a value that cannot be used. The text names the variable and says what would be right."""


@dataclass(frozen=True, slots=True)
class Range:
    """A limit's default for jobs that do not say, and the most that a job may ask for."""

    default: float
    maximum: float


def _cpus() -> int:
    quota = cpu_quota()
    cpus = len(os.sched_getaffinity(0))
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _slots() -> int:
    """One for each CPU, as far as each gets the memory that a job has by default."""
    memory = _job_memory_mb()
    return max(1, min(_cpus(), memory // DEFAULT_MEMORY_MB)) if memory else _cpus()


def _max_processes(slots: int) -> int:
    """What the container's own limit leaves each slot, for it would refuse the service its threads too."""
    limit = pids_limit()
    if limit is None:
        return MOST_PROCESSES
    return max(16, min(MOST_PROCESSES, (limit - SERVICE_PROCESSES) // slots - SANDBOX_PROCESSES))


def _job_memory_mb() -> int:
    """What the container has beside the service itself: 256 MiB or a seventh, whichever is more."""
    container = ContainerMemory.find()
    if container is None:
        return 0
    total = container.limit_bytes // MIB
    return max(64, total - max(SERVICE_MEMORY_MB, total // 7))


def _max_memory_mb() -> int:
    return min(MOST_MEMORY_MB, _job_memory_mb() or MOST_MEMORY_MB)


def _default_memory_mb() -> int:
    return min(DEFAULT_MEMORY_MB, _max_memory_mb())


def _setting(default: Any, help_text: str) -> Any:
    metadata = {"help": help_text}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. The environment variable of a field is `SANDRUN_` and its name in capitals."""

    host: str = _setting("127.0.0.1", "address to listen on; the API has no key, so keep it on loopback")
    port: int = _setting(8443, "port to listen on, 0 for any free one")
    slots: int = _setting(_slots, "jobs that run at once; default: by the container's CPUs and memory (512 MiB each)")
    memory_mb: int = _setting(
        _job_memory_mb,
        "MiB that the jobs that run at once may be promised together, 0 for any; default: the container's",
    )
    queue: int = _setting(64, "jobs that may wait for a slot")
    queue_bytes: int = _setting(128 << 20, "uploaded bytes that may wait in memory, all jobs together")
    upload_bytes: int = _setting(128 << 20, "largest request body")
    data_dir: str = _setting("", "directory for job data; default: sandrun-UID in the temporary directory")
    worker_key: str = _setting("", "file with the Ed25519 private key that signs results")
    min_tier: str = _setting("namespaces", "weakest isolation tier that may run jobs")
    cgroup: str = _setting("", "delegated cgroup directory (see docs/sandrun.md); default: detect")
    ttl: int = _setting(300, "seconds that a finished job's data is kept")
    retain_jobs: int = _setting(1000, "finished jobs kept at most; the oldest go first")
    retain_bytes: int = _setting(32 << 20, "output kept of finished jobs at most, in memory; the oldest go first")
    retain_file_bytes: int = _setting(1 << 30, "files kept of finished jobs at most, on disk; the oldest go first")
    output_keep_bytes: int = _setting(1 << 20, "bytes kept of each output stream, half of them its first")
    collect_files: int = _setting(2000, "most files kept of one job")
    collect_bytes: int = _setting(256 << 20, "most bytes of files kept of one job")

    default_timeout: float = _setting(300.0, "seconds of wall clock for jobs that do not say")
    max_timeout: float = _setting(3600.0, "most seconds of wall clock")
    default_memory_mb: int = _setting(_default_memory_mb, "MiB of memory for jobs that do not say; default: 512")
    max_memory_mb: int = _setting(_max_memory_mb, "most MiB of memory; default: 2048, or what the container has")
    max_cpu_seconds: float = _setting(14400.0, "most CPU seconds; without a value a job has the wall clock only")
    default_processes: int = _setting(64, "processes and threads for jobs that do not say")
    max_processes: int = _setting(MOST_PROCESSES, "most processes and threads; default: 256, or what the container has")
    default_open_files: int = _setting(256, "open files of each process for jobs that do not say")
    max_open_files: int = _setting(1024, "most open files of each process")
    default_disk_mb: int = _setting(256, "MiB in /job and /tmp for jobs that do not say")
    max_disk_mb: int = _setting(512, "most MiB in /job and /tmp")
    default_inodes: int = _setting(16384, "files and directories for jobs that do not say")
    max_inodes: int = _setting(131072, "most files and directories")
    default_output_mb: int = _setting(32, "MiB that a job may print that does not say")
    max_output_mb: int = _setting(1024, "most MiB that a job may print")

    rate_jobs: int = _setting(0, "jobs that one client may have queued or running at once, 0 for any number")
    rate_jobs_per_hour: int = _setting(0, "jobs that one client may submit in an hour, 0 for any number")
    rate_cpu_per_minute: float = _setting(0.0, "CPU seconds that one client may use in a minute, 0 for any number")
    rate_loopback: bool = _setting(False, "whether the rate limits hold for clients on loopback too (the agent is one)")

    @classmethod
    def load(cls, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Settings:
        """Read the environment, let `overrides` (None: not given) win, check everything. Raises SettingsError."""
        values: dict[str, Any] = {}
        for spec in fields(cls):
            variable = f"SANDRUN_{spec.name.upper()}"
            if overrides.get(spec.name) is not None:
                values[spec.name] = overrides[spec.name]
            elif environ.get(variable, "") != "":
                values[spec.name] = _parse(variable, environ[variable], str(spec.type))
        settings = cls(**values)
        if "max_processes" not in values and settings.slots > 0:
            settings = replace(settings, max_processes=_max_processes(settings.slots))
        settings._check(frozenset(values))
        return settings

    @property
    def directory(self) -> Path:
        """Where job data goes."""
        if self.data_dir:
            return Path(self.data_dir)
        return Path(tempfile.gettempdir()) / f"sandrun-{os.getuid()}"

    def ranges(self) -> dict[str, Range]:
        """The limits that a manifest may set, under their names there."""
        ranges = {}
        for name in LIMITS:
            maximum = getattr(self, f"max_{name}")
            # Lowering a maximum lowers the default with it; a default that was given is at most the maximum (`_check`).
            ranges[name] = Range(min(getattr(self, f"default_{name}"), maximum), maximum)
        ranges["file_size_mb"] = ranges["disk_mb"]
        return ranges

    def _check(self, given: frozenset[str]) -> None:
        if self.min_tier not in TIERS:
            raise SettingsError(f"SANDRUN_MIN_TIER is {self.min_tier!r}; it must be one of {', '.join(TIERS)}")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"SANDRUN_PORT is {self.port}; it must be between 0 and 65535")
        if not 1 <= self.slots <= 256:
            raise SettingsError(f"SANDRUN_SLOTS is {self.slots}; it must be between 1 and 256")
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, int | float) and value < 0:
                raise SettingsError(f"SANDRUN_{spec.name.upper()} is {value}; it must not be negative")
        for name in LIMITS:
            default, maximum = getattr(self, f"default_{name}"), getattr(self, f"max_{name}")
            if maximum <= 0:
                raise SettingsError(f"SANDRUN_MAX_{name.upper()} is {maximum:g}; it must be above 0")
            if f"default_{name}" in given and not 0 < default <= maximum:
                raise SettingsError(
                    f"SANDRUN_DEFAULT_{name.upper()} is {default:g}; it must be above 0 and at most {maximum:g}"
                )


def _parse(variable: str, text: str, kind: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        raise SettingsError(f"{variable} is {text!r}; it must be a number") from None
    if kind == "bool":
        if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
            raise SettingsError(f"{variable} is {text!r}; it must be true or false")
        return text.lower() in ("1", "true", "yes")
    return text
