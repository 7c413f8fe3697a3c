"""Reading a job's process tree through the proc file system of its own PID namespace.

The sandbox mounts a /proc that shows its own processes only. Held open from outside, a listing of that directory is the
whole tree in one call: orphans, double-forked daemons and new sessions included. Measured: 35 us for one process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container
from dataclasses import dataclass

__all__ = [
    "INIT_PID",
    "MAIN_PID",
    "ProcessStat",
    "Resident",
    "parse_stat",
    "read_mapped_files",
    "read_process",
    "read_pss",
    "read_resident",
    "scan",
]

INIT_PID = 1  #: the sandbox's own init (bubblewrap)
MAIN_PID = 2  #: the program
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

READ_SIZE = 4096
MOST_BYTES = 8 * 1024 * 1024  # of smaps: 65,530 mappings, the kernel's bound, are more; such a process is cut short

#: The first line of a mapping in smaps: addresses, rights, offset, device, inode.
MAPPING = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of /proc/PID/stat that we use (proc(5); numbers are those of that page, less one)."""

    pid: int
    state: str
    parent: int
    own_ticks: int  #: CPU time of the process itself, threads that ended included
    children_ticks: int  #: CPU time of the children it has waited for
    threads: int
    started: int  #: with `pid` it names the process for good
    address_bytes: int  #: reserved, whether used or not
    resident_bytes: int  #: anonymous, shared and file pages
    wait_status: int  #: as waitpid(2) gives it; meaningful for a zombie


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of one process that no file backs: private anonymous pages, and shared memory with tmpfs pages."""

    anonymous: int
    shared: int
    tables: int = 0  #: page tables: reading one byte of every 2 MiB costs 4 KiB that no resident figure shows

    @property
    def total(self) -> int:
        """All together."""
        return self.anonymous + self.shared + self.tables


def parse_stat(pid: int, line: bytes) -> ProcessStat:
    """Parse one stat line. The command may contain anything, parentheses and newlines included: it is skipped."""
    fields = line[line.rindex(b")") + 2 :].split()
    return ProcessStat(
        pid=pid,
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        own_ticks=int(fields[11]) + int(fields[12]),
        children_ticks=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        started=int(fields[19]),
        address_bytes=int(fields[20]),
        resident_bytes=int(fields[21]) * PAGE_SIZE,
        wait_status=int(fields[49]),
    )


def read_process(proc_fd: int, pid: int) -> ProcessStat | None:
    """One process, or None when it is gone."""
    content = _read(proc_fd, f"{pid}/stat")
    return parse_stat(pid, content) if content else None


def scan(proc_fd: int) -> list[ProcessStat]:
    """Every process of the namespace that `proc_fd` shows, its init included."""
    found = []
    for name in os.listdir(proc_fd):
        if name.isdecimal():
            process = read_process(proc_fd, int(name))
            if process is not None:
                found.append(process)
    return found


def read_resident(proc_fd: int, pid: int) -> Resident:
    """Resident memory without file pages. Pages shared by several processes count in each of them."""
    values = _kilobyte_fields(_read(proc_fd, f"{pid}/status"))
    return Resident(values.get(b"RssAnon", 0), values.get(b"RssShmem", 0), values.get(b"VmPTE", 0))


def read_pss(proc_fd: int, pid: int) -> Resident:
    """The process's share of its resident memory: summed over the tree every page counts once.

    Costs about 1 ms for each 100 MB; kernel 5.1 and newer.
    """
    values = _kilobyte_fields(_read(proc_fd, f"{pid}/smaps_rollup"))
    return Resident(values.get(b"Pss_Anon", 0), values.get(b"Pss_Shmem", 0))


def read_mapped_files(proc_fd: int, pid: int, devices: Container[int]) -> int:
    """The process's share of mapped pages whose files lie on one of `devices` (as st_dev gives them)."""
    total = 0
    counts = False
    for line in read_all(proc_fd, f"{pid}/smaps").splitlines():
        mapping = MAPPING.match(line)
        if mapping:
            counts = os.makedev(int(mapping[1], 16), int(mapping[2], 16)) in devices
        elif counts and line.startswith(b"Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def _kilobyte_fields(content: bytes) -> dict[bytes, int]:
    values = {}
    for line in content.splitlines():
        name, _, rest = line.partition(b":")
        if rest.endswith(b" kB"):
            values[name] = int(rest[:-3]) * 1024
    return values


def read_all(proc_fd: int, path: str) -> bytes:
    """A proc file of any length, up to a bound."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    parts = []
    size = 0
    try:
        while size < MOST_BYTES and (part := os.read(fd, 64 * 1024)):
            parts.append(part)
            size += len(part)
    except ProcessLookupError:
        return b""
    finally:
        os.close(fd)
    return b"".join(parts)


def _read(proc_fd: int, path: str) -> bytes:
    """A small proc file, or nothing when the process has gone (or is going) away."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    try:
        return os.read(fd, READ_SIZE)
    except ProcessLookupError:
        return b""
    finally:
        os.close(fd)
