"""What the container that we live in may use, and uses: the last line behind the jobs' own limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ContainerMemory", "cpu_quota", "pids_limit"]

CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60  # version 1 says a number near 2^63 where there is none


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """The memory cgroup that the container's processes are in, read-only as containers see it."""

    limit_bytes: int
    _usage: Path
    _stat: Path
    _events: Path
    _file_keys: tuple[str, ...]

    @classmethod
    def find(cls, root: Path = CGROUP) -> ContainerMemory | None:
        """None where there is no limit, or no cgroup to be seen."""
        two = (root / "memory.max", root / "memory.current", root / "memory.stat", root / "memory.events")
        memory = root / "memory"
        one = (
            memory / "memory.limit_in_bytes",
            memory / "memory.usage_in_bytes",
            memory / "memory.stat",
            memory / "memory.oom_control",
        )
        for (limit, usage, stat, events), keys in (
            (two, ("inactive_file", "active_file")),
            (one, ("total_inactive_file", "total_active_file")),
        ):
            number = _number(limit)
            if number is not None and number < NO_LIMIT:
                return cls(number, usage, stat, events, keys)
        return None

    def used_bytes(self) -> int:
        """Memory in use that the kernel could not take back by dropping cached files."""
        cached = sum(value for key, value in _pairs(self._stat) if key in self._file_keys)
        return max(0, (_number(self._usage) or 0) - cached)

    def oom_kills(self) -> int:
        """How often the kernel has killed a process of this container for want of memory."""
        return sum(value for key, value in _pairs(self._events) if key == "oom_kill")


def cpu_quota(root: Path = CGROUP) -> float | None:
    """How many CPUs' time the container may use, None where it is not limited."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        words = " ".join(_text(root / name) for name in files).split()
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            return int(words[0]) / int(words[1])
    return None


def pids_limit(root: Path = CGROUP) -> int | None:
    """How many processes and threads the container may have, None where it is not limited."""
    return next((found for name in ("pids.max", "pids/pids.max") if (found := _number(root / name)) is not None), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _pairs(path: Path) -> list[tuple[str, int]]:
    split = (line.partition(" ") for line in _text(path).splitlines())
    return [(key, int(value)) for key, _, value in split if value.isdecimal()]
