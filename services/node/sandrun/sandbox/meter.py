"""Measuring one sandbox from outside: its processes, CPU time, memory and files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from sandrun.sandbox import procfs
from sandrun.sandbox.cgroup import JobCgroup
from sandrun.sandbox.cpu import CpuMeter
from sandrun.sandbox.launcher import Measure
from sandrun.sandbox.memory import INODE_BYTES, MemoryMeter
from sandrun.sandbox.rootfs import JOB_DIR, SHM_DIR, TMP_DIR
from sandrun.sandbox.sockets import SocketMeter
from sandrun.sandbox.spec import Limits

__all__ = ["TreeMeter"]

INIT_TASKS = 1  # the sandbox's own init, which is no process of the job's


class TreeMeter:
    """Holds the sandbox's own directories and /proc open, so that they can be read while it lives and after."""

    def __init__(self, main_pid: int, limits: Limits, cgroup: JobCgroup | None) -> None:
        self._stack = contextlib.ExitStack()
        self._limits = limits
        self._cgroup = cgroup
        root = f"/proc/{main_pid}/root"
        try:
            self.job_fd = self._open(root + JOB_DIR)
            self._tmp_fd = self._open(root + TMP_DIR)
            self._shm_fd = self._open(root + SHM_DIR)
            self.proc_fd = self._open(root + "/proc")
        except OSError:
            self.close()
            raise
        devices = [os.fstat(fd).st_dev for fd in (self.job_fd, self._tmp_fd, self._shm_fd)]
        self._cpu = CpuMeter()
        self._sockets = SocketMeter(self.proc_fd)
        self._memory = MemoryMeter(self.proc_fd, limits.memory_bytes, devices)
        self._before = (0, 0)
        self.processes: Sequence[procfs.ProcessStat] = ()  #: of the last sample, the sandbox's init included

    def start(self) -> None:
        """Count files from here: those that are there belong to the upload."""
        self._before = self._files_used()

    def measure(self) -> Measure:
        """Sample everything once."""
        self.processes = procfs.scan(self.proc_fd)
        cpu_seconds = self._cpu.add(self.processes)
        used_bytes, used_inodes = self._files_used()
        memory_bytes, exceeded = self._measure_memory(used_bytes, used_inodes)
        if self._cgroup is not None:
            cpu_seconds = max(cpu_seconds, self._cgroup.cpu_seconds())
        return Measure(
            cpu_seconds=cpu_seconds,
            memory_bytes=memory_bytes,
            memory_exceeded=exceeded,
            tasks=sum(process.threads for process in self.processes if process.state != "Z") - INIT_TASKS,
            disk_bytes=used_bytes - self._before[0],
            inodes=used_inodes - self._before[1],
            disk_full=any(os.fstatvfs(fd).f_bfree == 0 for fd in (self.job_fd, self._tmp_fd)),
        )

    def final_cpu_seconds(self, kernel_seconds: float) -> float:
        """The tree's CPU time, given what the kernel's account of it says (0: it kept none)."""
        candidates = [self._cpu.seconds, kernel_seconds + self._cpu.lost_seconds]
        if self._cgroup is not None:
            candidates.append(self._cgroup.cpu_seconds())
        return max(candidates)

    def close(self) -> None:
        """Give back the descriptors; with the last of them goes the job's file system."""
        self._stack.close()

    def _measure_memory(self, used_bytes: int, used_inodes: int) -> tuple[int, bool]:
        if self._cgroup is not None:
            # Version 1 does not charge TCP's buffers to the cgroup.
            held = self._cgroup.memory_bytes() + self._sockets.measure()
            if self._cgroup.out_of_memory():  # what the kernel killed for it is gone from the figures already
                return max(held, self._limits.memory_bytes), True
            return held, held > self._limits.memory_bytes
        shm = os.fstatvfs(self._shm_fd)
        files_bytes = used_bytes + (shm.f_blocks - shm.f_bfree) * shm.f_bsize + used_inodes * INODE_BYTES
        return self._memory.measure(self.processes, files_bytes, self._sockets.measure())

    def _files_used(self) -> tuple[int, int]:
        stats = [os.fstatvfs(fd) for fd in (self.job_fd, self._tmp_fd)]
        return (
            sum((stat.f_blocks - stat.f_bfree) * stat.f_bsize for stat in stats),
            sum(stat.f_files - stat.f_ffree for stat in stats),
        )

    def _open(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack.callback(os.close, fd)
        return fd
