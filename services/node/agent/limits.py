"""How many cores and how much memory this process may really use: the machine's, cut by cgroup v1 or v2 limits."""

import os
from pathlib import Path

_V1_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63


def cpu_cores(root: Path = Path("/")) -> int:
    """Whole cores this process may use, at least 1. A quota of 1.5 counts as 1: a promise must be kept."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _folders(root, "cpu"):
        quota = _v2_quota(folder) or _v1_quota(folder)
        if quota:
            cores = min(cores, quota)
    return max(1, int(cores))


def memory_bytes(root: Path = Path("/")) -> int:
    """Bytes of memory this process may use."""
    total = _machine_memory(root)
    for folder in _folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = number(folder / name)
            if limit is not None and 0 < limit < _V1_UNLIMITED:
                total = min(total, limit)
    return total


def _folders(root: Path, controller: str) -> list[Path]:
    """Every cgroup folder whose limit applies: this process's own and those above it, for both cgroup versions."""
    mount = root / "sys/fs/cgroup"
    folders = [mount, mount / controller]
    for line in lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            base = mount
        elif controller in controllers.split(","):
            base = mount / controller
        else:
            continue
        # In a container without a cgroup namespace the path names folders of the host that are not mounted: skipped.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return folders


def _v2_quota(folder: Path) -> float | None:
    words = " ".join(lines(folder / "cpu.max")).split()
    if len(words) != 2 or not words[0].isdecimal() or not words[1].isdecimal():
        return None
    return int(words[0]) / int(words[1]) if int(words[1]) else None


def _v1_quota(folder: Path) -> float | None:
    quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _machine_memory(root: Path) -> int:
    for line in lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemTotal" and rest.split()[:1] and rest.split()[0].isdecimal():
            return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def number(path: Path) -> int | None:
    """The whole number that a file holds; None when it holds none, or is not there."""
    text = " ".join(lines(path)).strip()
    return int(text) if text.removeprefix("-").isdecimal() else None


def lines(path: Path) -> list[str]:
    """The lines of a file; none when it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
