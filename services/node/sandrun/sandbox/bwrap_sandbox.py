"""One running bubblewrap sandbox, steered from outside."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from sandrun.sandbox import kernel, procfs
from sandrun.sandbox.cgroup import JobCgroup
from sandrun.sandbox.files import write_files
from sandrun.sandbox.launcher import LaunchError, Measure, ProgramEnd, TreeUsage
from sandrun.sandbox.meter import TreeMeter
from sandrun.sandbox.spec import MIB, InputFile, Limits

__all__ = ["PROCESSES_HEADROOM", "BwrapSandbox"]

#: RLIMIT_NPROC is set above the limit that we enforce, so that crossing it can be seen: the kernel alone would refuse
#: the job another process and tell nobody. One more for the sandbox's init, which counts too.
PROCESSES_HEADROOM = 16

STACK_BYTES = 8 * MIB
PENDING_SIGNALS = 1024  # queued signals and timers of the tree, kernel memory that no measure shows
NICE = 19  # jobs at nice 19: the service answers within 12 ms beside 31 busy job processes, 60 ms at nice 0
OOM_SCORE = b"1000"  # the kernel's out-of-memory killer takes a job before the service
WAIT_SLICE_MS = 50
ABANDON_SECONDS = 10.0
BUBBLEWRAP_END_SECONDS = 0.5


class BwrapSandbox:
    """Satisfies `launcher.Sandbox`. Used by the one thread that started it."""

    def __init__(
        self, outer_pid: int, stdout_fd: int, stderr_fd: int, gate: socket.socket, cgroup: JobCgroup | None
    ) -> None:
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.ended_fd = -1
        self.job_fd = -1
        self._gate = gate
        self._cgroup = cgroup
        self._outer_pid: int | None = outer_pid
        self._init_pid: int | None = None
        self._main_pid = 0
        self._meter: TreeMeter | None = None
        self._stack = contextlib.ExitStack()
        if cgroup is not None:
            self._stack.callback(cgroup.remove)  # last of all
        self._stack.callback(gate.close)
        self._stack.callback(os.close, stdout_fd)
        self._stack.callback(os.close, stderr_fd)
        self._outer_fd = self._pidfd(outer_pid)
        self._init_fd = -1

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
        self.ended_fd = self._pidfd(pid)
        self._init_pid = procfs.parse_stat(pid, Path(f"/proc/{pid}/stat").read_bytes()).parent
        self._init_fd = self._pidfd(self._init_pid)

    def descriptors(self) -> list[int]:
        """What the process behind the gate has open."""
        return sorted(int(entry.name) for entry in os.scandir(f"/proc/{self._main_pid}/fd"))

    def set_up(self, files: Sequence[InputFile], limits: Limits) -> None:
        """Limit the program, give it its files and open what measuring needs. Nothing of it has run yet."""
        meter = TreeMeter(self._main_pid, limits, self._cgroup)
        self._meter = meter
        self._stack.callback(meter.close)
        self.job_fd = meter.job_fd
        self._set_rlimits(limits)
        for pid in (self._init_pid, self._main_pid):
            assert pid is not None
            Path(f"/proc/{pid}/oom_score_adj").write_bytes(OOM_SCORE)
            if self._cgroup is not None:
                self._cgroup.add(pid)
        os.setpriority(os.PRIO_PROCESS, self._main_pid, NICE)
        write_files(self.job_fd, files)
        meter.start()
        signal.pidfd_send_signal(self._init_fd, signal.SIGSTOP)

    def _set_rlimits(self, limits: Limits) -> None:
        for what, value in (
            (resource.RLIMIT_NPROC, limits.processes + PROCESSES_HEADROOM + 1),
            (resource.RLIMIT_NOFILE, limits.open_files),
            (resource.RLIMIT_FSIZE, limits.file_size_bytes),
            (resource.RLIMIT_STACK, STACK_BYTES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_SIGPENDING, PENDING_SIGNALS),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        ):
            for pid in (self._main_pid, self._init_pid):  # init too: a job may find a way to act in its name
                assert pid is not None
                resource.prlimit(pid, what, (value, value))

    def go(self) -> None:
        """Open the gate."""
        self._gate.sendall(b"\n")
        self._gate.close()

    # Watching

    def measure(self) -> Measure:
        """Sample processes, CPU, memory and files of the tree."""
        assert self._meter is not None
        measured = self._meter.measure()
        self._tend_init(self._meter.processes)
        return measured

    def _tend_init(self, processes: Sequence[procfs.ProcessStat]) -> None:
        """Keep init stopped, but let it reap orphans that ended: they count against the job's processes.

        Where the kernel keeps the program's end by itself, init runs on from the first orphan, or once the job woke it.
        """
        orphans = main_ended = False
        stopped = False
        for process in processes:
            if process.pid == procfs.INIT_PID:
                stopped = process.state in "Tt"
            elif process.pid == procfs.MAIN_PID:
                main_ended = process.state == "Z"
            elif process.state == "Z" and process.parent == procfs.INIT_PID:
                orphans = True
        if main_ended:
            return
        if stopped and orphans:
            self._signal_init(signal.SIGCONT)
        elif not stopped and not kernel.keeps_exit_status():
            self._signal_init(signal.SIGSTOP)

    def _signal_init(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init_fd, number)

    # Ending

    def program_end(self) -> ProgramEnd:
        """The kernel's record of how the program ended, from its zombie or, if init has reaped that, its descriptor."""
        assert self._meter is not None
        main = procfs.read_process(self._meter.proc_fd, procfs.MAIN_PID)
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
        if not self._wait(self._outer_fd, deadline):
            return None
        if self._outer_pid is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._outer_pid, 0)
            self._outer_pid = None
        if self._init_pid is None:
            return TreeUsage()
        if not self._wait(self._init_fd, deadline):
            return None
        kernel_seconds, peak_bytes = self._collect_init(self._init_pid)
        self._init_pid = None
        cpu_seconds = self._meter.final_cpu_seconds(kernel_seconds) if self._meter is not None else kernel_seconds
        return TreeUsage(cpu_seconds, peak_bytes)

    @staticmethod
    def _collect_init(pid: int) -> tuple[float, int]:
        """The kernel's account of the tree: CPU seconds and the largest process's peak. Zeros if bubblewrap took it."""
        try:
            _, _, usage = os.wait4(pid, 0)
        except ChildProcessError:  # it had ended, and bubblewrap reaped it, before we killed either
            return 0.0, 0
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024

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
        if self._init_pid is None and self._outer_pid is not None:
            for pid in kernel.children_of(self._outer_pid):  # it hung before it was ready
                self._init_pid, self._init_fd = pid, self._pidfd(pid)
        self.kill()
        self.reap(ABANDON_SECONDS)
        self.close()

    def close(self) -> None:
        """Give back every descriptor; with them goes the job's file system."""
        for pid in (self._outer_pid, self._init_pid):
            if pid is not None:  # did not end in time
                kernel.leftovers.add(pid)
        self._outer_pid = self._init_pid = None
        self._stack.close()

    def _pidfd(self, pid: int) -> int:
        fd = os.pidfd_open(pid)
        self._stack.callback(os.close, fd)
        return fd
