"""Memory of a whole process tree, measured from /proc, for hosts that give us no cgroup to enforce it.

Three questions, each dearer and more exact than the one before, asked only when the answer could matter:

1. resident memory with file pages, from the sample that is taken anyway: an upper bound;
2. anonymous and shared memory (`status`): pages that forked processes share count several times;
3. proportional shares (`smaps_rollup`): exact, but milliseconds for a big tree.

What tmpfs files hold counts too, and 1 KiB of kernel memory for each file. The channels that none of this sees (memfd,
System V memory, raised socket buffers) are closed by the job's system call filter.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandrun.sandbox.procfs import ProcessStat, Resident, read_pss, read_resident

__all__ = ["INODE_BYTES", "MemoryMeter"]

#: Kernel memory of an empty tmpfs file: 200,000 files took 194 MB.
INODE_BYTES = 1024


class MemoryMeter:
    """Samples one tree against one limit."""

    def __init__(self, proc_fd: int, limit_bytes: int) -> None:
        self._proc_fd = proc_fd
        self._limit = limit_bytes
        self._confirmed = 0
        self._resident_at_confirmation: dict[int, int] = {}

    def measure(self, processes: Sequence[ProcessStat], files_bytes: int) -> tuple[int, bool]:
        """Bytes that the tree uses by the best answer taken, and whether that is proven to be beyond the limit."""
        bound = sum(p.resident_bytes for p in processes) + files_bytes
        if bound <= self._limit:
            return bound, False
        resident = {p.pid: read_resident(self._proc_fd, p.pid).total for p in processes}
        bound = sum(resident.values()) + files_bytes
        if bound <= self._limit:
            return bound, False
        if self._growth_fits(resident, files_bytes):
            return self._confirmed, False
        return self._confirm(processes, resident, files_bytes)

    def _growth_fits(self, resident: dict[int, int], files_bytes: int) -> bool:
        """Whether everything that grew since the last exact answer still fits, if all of it were new memory.

        Spares a forked tree, whose upper bound stays beyond the limit for good, an exact answer at each sample.
        """
        before = self._resident_at_confirmation
        if not before:
            return False
        growth = sum(max(0, size - before.get(pid, 0)) for pid, size in resident.items())
        growth += max(0, files_bytes - before.get(0, 0))
        return self._confirmed + growth <= self._limit

    def _confirm(
        self, processes: Sequence[ProcessStat], resident: dict[int, int], files_bytes: int
    ) -> tuple[int, bool]:
        shares: list[Resident] = [read_pss(self._proc_fd, p.pid) for p in processes]
        anonymous = sum(share.anonymous for share in shares)
        shared = sum(share.shared for share in shares)
        # Pages of tmpfs files that are mapped are in both; which ones, only `smaps` tells, at ten times the cost.
        exact = anonymous + max(shared, files_bytes)
        self._confirmed = exact
        self._resident_at_confirmation = {**resident, 0: files_bytes}
        return exact, exact > self._limit
