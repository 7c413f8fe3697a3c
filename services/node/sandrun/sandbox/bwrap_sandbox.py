"""One running bubblewrap sandbox, seen and steered from outside."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandrun.sandbox import kernel, procfs
from sandrun.sandbox.cpu import CpuMeter
from sandrun.sandbox.files import write_files
from sandrun.sandbox.launcher import LaunchError, Measure, ProgramEnd, TreeUsage
from sandrun.sandbox.memory import INODE_BYTES, MemoryMeter
from sandrun.sandbox.rootfs import JOB_DIR, SHM_DIR, TMP_DIR
from sandrun.sandbox.spec import MIB, InputFile, Limits

__all__ = ["BwrapSandbox"]

#: RLIMIT_NPROC is set above the limit that we enforce, so that crossing it can be seen: the kernel alone would refuse
#: the job another process and tell nobody. One more for the sandbox's init, which counts too.
PROCESSES_HEADROOM = 16

#: RLIMIT_DATA, per process, is only a backstop behind the measured limit: Node.js reserves 570 MB before it uses any.
DATA_HEADROOM_BYTES = 640 * MIB

STACK_BYTES = 8 * MIB
NICE = 19  # jobs at nice 19: the service answers within 12 ms beside 31 busy job processes, 60 ms at nice 0
OOM_SCORE = b"1000"  # the kernel's out-of-memory killer takes a job before the service
WAIT_SLICE_MS = 50
BUBBLEWRAP_END_SECONDS = 0.5


class BwrapSandbox:
    """Satisfies `launcher.Sandbox`. Used by the one thread that started it."""

    def __init__(self, outer_pid: int, stdout_fd: int, stderr_fd: int, gate: socket.socket, limits: Limits) -> None:
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.ended_fd = -1
        self.job_fd = -1
        self._limits = limits
        self._gate = gate
        self._outer_pid: int | None = outer_pid
        self._init_pid: int | None = None
        self._main_pid = 0
        self._stack = contextlib.ExitStack()
        self._stack.callback(gate.close)
        self._stack.callback(os.close, stdout_fd)
        self._stack.callback(os.close, stderr_fd)
        self._outer_fd = self._own(os.pidfd_open(outer_pid))
        self._init_fd = -1
        self._proc_fd = -1
        self._tmp_fd = -1
        self._shm_fd = -1
        self._cpu = CpuMeter()
        self._memory: MemoryMeter | None = None
        self._files_before = (0, 0)

    # Starting

    def wait_ready(self) -> None:
        """Wait for the shell behind the gate. Raises LaunchError when bubblewrap gives up or takes too long."""
        try:
            message, pid = kernel.receive_with_pid(self._gate)
        except TimeoutError as error:
            raise LaunchError("the sandbox was not ready in time") from error
        if not message or not pid:
            raise LaunchError("bubblewrap ended before the sandbox was ready")
        self._main_pid = pid
        self.ended_fd = self._own(os.pidfd_open(pid))
        self._init_pid = _parent_of(pid)
        self._init_fd = self._own(os.pidfd_open(self._init_pid))

    def descriptors(self) -> list[int]:
        """What the process behind the gate has open."""
        return sorted(int(entry.name) for entry in os.scandir(f"/proc/{self._main_pid}/fd"))

    def set_up(self, files: Sequence[InputFile]) -> None:
        """Limit the program, give it its files and open what measuring needs. Nothing of it has run yet."""
        root = f"/proc/{self._main_pid}/root"
        self.job_fd = self._open_directory(root + JOB_DIR)
        self._tmp_fd = self._open_directory(root + TMP_DIR)
        self._shm_fd = self._open_directory(root + SHM_DIR)
        self._proc_fd = self._open_directory(root + "/proc")
        self._memory = MemoryMeter(self._proc_fd, self._limits.memory_bytes)
        self._set_limits()
        for pid in (self._init_pid, self._main_pid):
            Path(f"/proc/{pid}/oom_score_adj").write_bytes(OOM_SCORE)
        os.setpriority(os.PRIO_PROCESS, self._main_pid, NICE)
        write_files(self.job_fd, files)
        self._files_before = self._files_used()
        signal.pidfd_send_signal(self._init_fd, signal.SIGSTOP)

    def _set_limits(self) -> None:
        limits, pid = self._limits, self._main_pid
        processes = limits.processes + PROCESSES_HEADROOM + 1
        for what, value in (
            (resource.RLIMIT_NPROC, processes),
            (resource.RLIMIT_NOFILE, limits.open_files),
            (resource.RLIMIT_FSIZE, limits.file_size_bytes),
            (resource.RLIMIT_DATA, limits.memory_bytes + DATA_HEADROOM_BYTES),
            (resource.RLIMIT_STACK, STACK_BYTES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        ):
            resource.prlimit(pid, what, (value, value))

    def go(self) -> None:
        """Open the gate."""
        self._gate.sendall(b"\n")
        self._gate.close()

    # Watching

    def measure(self) -> Measure:
        """Sample processes, CPU, memory and files of the tree."""
        processes = procfs.scan(self._proc_fd)
        cpu_seconds = self._cpu.add(processes)
        jobs = [process for process in processes if process.pid != procfs.INIT_PID]
        disk_bytes, inodes, full = self._disk()
        shm = os.fstatvfs(self._shm_fd)
        files_bytes = disk_bytes + (shm.f_blocks - shm.f_bfree) * shm.f_bsize + inodes * INODE_BYTES
        assert self._memory is not None
        memory, exceeded = self._memory.measure(jobs, files_bytes)
        self._keep_init_stopped(processes)
        return Measure(
            cpu_seconds=cpu_seconds,
            memory_bytes=memory,
            tasks=sum(process.threads for process in jobs if process.state != "Z"),
            disk_bytes=disk_bytes,
            inodes=inodes,
            disk_full=full,
            memory_exceeded=exceeded,
        )

    def _disk(self) -> tuple[int, int, bool]:
        used_bytes, used_inodes = self._files_used()
        full = any(os.fstatvfs(fd).f_bfree == 0 for fd in (self.job_fd, self._tmp_fd))
        return used_bytes - self._files_before[0], used_inodes - self._files_before[1], full

    def _files_used(self) -> tuple[int, int]:
        stats = [os.fstatvfs(fd) for fd in (self.job_fd, self._tmp_fd)]
        return (
            sum((stat.f_blocks - stat.f_bfree) * stat.f_bsize for stat in stats),
            sum(stat.f_files - stat.f_ffree for stat in stats),
        )

    def _keep_init_stopped(self, processes: Sequence[procfs.ProcessStat]) -> None:
        """Let init reap orphans that ended, which count against the job's processes, then stop it again."""
        orphans = main_ended = False
        init_stopped = False
        for process in processes:
            if process.pid == procfs.INIT_PID:
                init_stopped = process.state in "Tt"
            elif process.pid == procfs.MAIN_PID:
                main_ended = process.state == "Z"
            elif process.state == "Z" and process.parent == procfs.INIT_PID:
                orphans = True
        if orphans and not main_ended:
            self._signal_init(signal.SIGCONT)
        elif not init_stopped:
            self._signal_init(signal.SIGSTOP)

    def _signal_init(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init_fd, number)

    # Ending

    def program_end(self) -> ProgramEnd:
        """The kernel's record of how the program ended, from its zombie or, if init has reaped that, its descriptor."""
        main = procfs.read_process(self._proc_fd, procfs.MAIN_PID)
        status = main.wait_status if main is not None and main.state in "ZX" else None
        if status is None:
            status = kernel.exit_status_of(self.ended_fd)
        if status is None:
            return self._end_by_bubblewrap()
        if os.WIFSIGNALED(status):
            return ProgramEnd(signal=os.WTERMSIG(status))
        return ProgramEnd(exit_code=os.WEXITSTATUS(status))

    def _end_by_bubblewrap(self) -> ProgramEnd:
        """What bubblewrap says (128 + number for signals too), where a job woke init and the kernel keeps no record."""
        if not self._wait(self._outer_fd, time.monotonic() + BUBBLEWRAP_END_SECONDS) or self._outer_pid is None:
            return ProgramEnd()
        _, status = os.waitpid(self._outer_pid, 0)
        self._outer_pid = None
        return ProgramEnd(exit_code=os.WEXITSTATUS(status)) if os.WIFEXITED(status) else ProgramEnd()

    def kill(self) -> None:
        """SIGKILL to bubblewrap first, so that it cannot reap init and take the tree's account with it."""
        for fd in (self._outer_fd, self._init_fd):
            if fd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)

    def reap(self, deadline_seconds: float) -> TreeUsage | None:
        """Wait for bubblewrap and for init, whose end the kernel delays until every process of the sandbox is gone."""
        deadline = time.monotonic() + deadline_seconds
        if not self._wait(self._outer_fd, deadline) or not self._collect_outer():
            return None
        if self._init_pid is None:
            return TreeUsage()
        if not self._wait(self._init_fd, deadline):
            return None
        try:
            _, _, usage = os.wait4(self._init_pid, 0)
        except ChildProcessError:  # bubblewrap was quicker: it had ended before we killed it
            usage = None
        self._init_pid = None
        sampled = self._cpu.seconds
        if usage is None:
            return TreeUsage(cpu_seconds=sampled)
        kernel_seconds = usage.ru_utime + usage.ru_stime
        return TreeUsage(
            cpu_seconds=max(sampled, kernel_seconds + self._cpu.lost_seconds),
            memory_peak_bytes=usage.ru_maxrss * 1024,
        )

    def _collect_outer(self) -> bool:
        if self._outer_pid is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._outer_pid, 0)
            self._outer_pid = None
        return True

    @staticmethod
    def _wait(pidfd: int, deadline: float) -> bool:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(WAIT_SLICE_MS):
            if time.monotonic() > deadline:
                return False
        return True

    def abandon(self) -> None:
        """Kill, reap and close: for a sandbox whose program never ran."""
        self.kill()
        self.reap(10.0)
        self.close()

    def close(self) -> None:
        """Give back every descriptor; with them goes the job's file system."""
        self._stack.close()

    def _own(self, fd: int) -> int:
        closer: Callable[[int], None] = os.close
        self._stack.callback(closer, fd)
        return fd

    def _open_directory(self, path: str) -> int:
        return self._own(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _parent_of(pid: int) -> int:
    return procfs.parse_stat(pid, Path(f"/proc/{pid}/stat").read_bytes()).parent
