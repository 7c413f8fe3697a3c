"""Memory of a whole process tree, measured from /proc, for hosts that give us no cgroup to enforce it.

Four questions, each dearer and more exact than the one before, asked only when the answer could matter:

1. resident memory with file pages, and the most that page tables could take, from the sample that is taken anyway: an
   upper bound;
2. anonymous and shared memory and page tables (`status`): pages that forked processes share count several times;
3. proportional shares (`smaps_rollup`): each page once, milliseconds for a big tree;
4. which of the shared pages are tmpfs files that are counted as files already (`smaps`), ten times dearer.

What tmpfs files hold counts too, 1 KiB of kernel memory for each file, and what sockets hold. The channels that none of
this sees (memfd, System V memory, raised socket buffers) are closed by the job's system call filter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sandrun.sandbox.procfs import ProcessStat, read_mapped_files, read_pss, read_resident

__all__ = ["INODE_BYTES", "MemoryMeter"]

#: Kernel memory of an empty tmpfs file: 200,000 files took 194 MB.
INODE_BYTES = 1024

#: A page table is a page of entries of 8 bytes, one for each page that it maps.
PAGES_OF_A_TABLE = 512


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """An exact answer, and what it rested on."""

    total: int
    resident: dict[int, int]  #: by process
    other_bytes: int  #: of files and in the kernel


class MemoryMeter:
    """Samples one tree against one limit. `file_devices` are the devices of the job's own tmpfs file systems."""

    def __init__(self, proc_fd: int, limit_bytes: int, file_devices: Collection[int]) -> None:
        self._proc_fd = proc_fd
        self._limit = limit_bytes
        self._file_devices = frozenset(file_devices)
        self._confirmed: _Confirmed | None = None

    def measure(self, processes: Sequence[ProcessStat], files_bytes: int, kernel_bytes: int = 0) -> tuple[int, bool]:
        """Bytes that the tree uses by the best answer taken, and whether that is proven to be beyond the limit.

        `kernel_bytes` is what the kernel holds for the tree beside (see `sockets`).
        """
        used = sum(process.resident_bytes for process in processes) + files_bytes + kernel_bytes
        if used + sum(process.address_bytes for process in processes) // PAGES_OF_A_TABLE <= self._limit:
            return used, False
        found = {process.pid: read_resident(self._proc_fd, process.pid) for process in processes}
        resident = {pid: each.total for pid, each in found.items()}
        bound = sum(resident.values()) + files_bytes + kernel_bytes
        if bound <= self._limit:
            return bound, False
        other_bytes = files_bytes + kernel_bytes
        if self._confirmed is not None and self._growth_fits(self._confirmed, resident, other_bytes):
            return self._confirmed.total, False
        total = self._exact(processes, files_bytes) + kernel_bytes + sum(each.tables for each in found.values())
        self._confirmed = _Confirmed(total, resident, other_bytes)
        return total, total > self._limit

    def _growth_fits(self, last: _Confirmed, resident: dict[int, int], other_bytes: int) -> bool:
        """Whether everything that grew since the last exact answer still fits, if all of it were new memory.

        Spares a forked tree, whose upper bound stays beyond the limit for good, an exact answer at each sample.
        """
        growth = sum(max(0, size - last.resident.get(pid, 0)) for pid, size in resident.items())
        growth += max(0, other_bytes - last.other_bytes)
        return last.total + growth <= self._limit

    def _exact(self, processes: Sequence[ProcessStat], files_bytes: int) -> int:
        shares = [read_pss(self._proc_fd, process.pid) for process in processes]
        anonymous = sum(share.anonymous for share in shares)
        shared = sum(share.shared for share in shares)
        # Pages of tmpfs files that are mapped are in both, `shared` and `files_bytes`.
        least, most = anonymous + max(shared, files_bytes), anonymous + shared + files_bytes
        if most <= self._limit or least > self._limit:
            return least
        mapped = sum(read_mapped_files(self._proc_fd, process.pid, self._file_devices) for process in processes)
        return anonymous + max(0, shared - mapped) + files_bytes
