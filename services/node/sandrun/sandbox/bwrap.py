"""The `namespaces` tier: one bubblewrap per job, built, held at a gate, limited from outside, then let go.

How a job starts:

1. bubblewrap makes the namespaces and the file system and starts a shell in it, which says "ready" on a socket and
   waits. The kernel stamps the message with the shell's process id in our own PID namespace, so nothing is guessed.
2. With nothing of the job executed yet we set its resource limits, priority and cgroup, write its files, open its
   directories and its /proc, and check that it inherited no descriptor but these.
3. The gate opens: the shell closes the socket and becomes the program, with the same process id.

The sandbox's own init is stopped meanwhile: it would reap the program and report 137 both for `exit 137` and for a
killed program. Stopped, it leaves the program's zombie with the kernel's true record for us to read. It runs when there
are orphans to reap, or when the job wakes it; then the record is the process descriptor's (kernel 6.15 and newer).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sandrun.sandbox import kernel, seccomp
from sandrun.sandbox.bwrap_sandbox import BwrapSandbox
from sandrun.sandbox.cgroup import CgroupParent, JobCgroup
from sandrun.sandbox.launcher import LaunchError
from sandrun.sandbox.rootfs import GID, HOSTNAME, JOB_DIR, SHM_DIR, TMP_DIR, UID, RootFs
from sandrun.sandbox.seccomp import JobFilter
from sandrun.sandbox.spec import MIB, SandboxSpec

__all__ = ["BwrapConfig", "BwrapLauncher", "find_shell"]

# Descriptors in the child: 0 and 1 are the gate until the shell puts the program's own in their place; bubblewrap reads
# and closes 4 to 6. (A redirection of one command only would make dash keep a spare copy of the descriptor meanwhile.)
STDIN_FD, ARGUMENTS_FD, CALLS_FILTER_FD, ARGUMENTS_FILTER_FD, STDOUT_FD = 3, 4, 5, 6, 7

GATE_SCRIPT = f'echo && read -r _ && exec <&{STDIN_FD} >&{STDOUT_FD} {STDIN_FD}<&- {STDOUT_FD}>&- && exec "$@"'
#: What the shell may hold while it waits.
GATE_DESCRIPTORS = [0, 1, 2, STDIN_FD, STDOUT_FD]

START_DEADLINE_SECONDS = 10.0  # building takes 8 ms; under a fork bomb next door 100 ms were seen
ERROR_BYTES = 4096

SHM_BYTES = 64 * MIB  # Docker's own default for /dev/shm


@dataclass(frozen=True, slots=True)
class BwrapConfig:
    """What is the same for every job of this node."""

    bwrap: str
    shell: str
    rootfs: RootFs
    filters: JobFilter
    own_hostname: bool = True  #: False where the container's filter forbids sethostname
    cgroups: CgroupParent | None = None  #: where the operator delegated a subtree


class BwrapLauncher:
    """Starts sandboxes through bubblewrap. Thread-safe; every sandbox belongs to the thread that started it."""

    tier = "namespaces"

    def __init__(self, config: BwrapConfig) -> None:
        self._config = config

    def without_filter(self) -> BwrapLauncher:
        """The same without the job's system call filter, to prove that the other layers hold by themselves."""
        return BwrapLauncher(replace(self._config, filters=seccomp.permissive()))

    def without_own_hostname(self) -> BwrapLauncher:
        """The same for containers that forbid sethostname: jobs see the container's name."""
        return BwrapLauncher(replace(self._config, own_hostname=False))

    def start(self, spec: SandboxSpec) -> BwrapSandbox:
        """Build the sandbox and hold the program at the gate. Raises LaunchError; leaves nothing behind then."""
        with contextlib.ExitStack() as stack:
            cgroup = self._cgroup(spec, stack)
            pipes = _Pipes.open(stack)
            gate, child_gate = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            stack.callback(gate.close)
            gate.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            gate.settimeout(START_DEADLINE_SECONDS)
            with contextlib.closing(child_gate):
                outer_pid = self._spawn(spec, pipes, child_gate)
            stack.pop_all()  # the sandbox owns them now
            sandbox = BwrapSandbox(outer_pid, pipes.stdout, pipes.stderr, gate, cgroup)
        try:
            sandbox.wait_ready()
            _check_descriptors(sandbox.descriptors())
            sandbox.set_up(spec.files, spec.limits)
        except (LaunchError, OSError) as error:
            message = _setup_message(sandbox, error)
            sandbox.abandon()
            raise LaunchError(message) from error
        return sandbox

    def _cgroup(self, spec: SandboxSpec, stack: contextlib.ExitStack) -> JobCgroup | None:
        if self._config.cgroups is None:
            return None
        try:
            cgroup = self._config.cgroups.job(secrets.token_hex(8), spec.limits.memory_bytes)
        except OSError as error:
            raise LaunchError(f"cannot make a cgroup for the job: {error}") from error
        stack.callback(cgroup.remove)
        return cgroup

    def _spawn(self, spec: SandboxSpec, pipes: _Pipes, gate: socket.socket) -> int:
        filters = self._config.filters
        with _child_descriptors(
            [
                os.dup(gate.fileno()),
                os.dup(gate.fileno()),
                os.dup(pipes.child_stderr),
                _standard_input(spec.stdin),
                kernel.sealed_memfd("arguments", self._arguments(spec)),
                kernel.sealed_memfd("filter", filters.calls),
                kernel.sealed_memfd("filter", filters.arguments),
                os.dup(pipes.child_stdout),
            ]
        ) as actions:
            try:
                return os.posix_spawn(
                    self._config.bwrap,
                    [
                        "bwrap", "--args", str(ARGUMENTS_FD), "--",
                        self._config.shell, "-c", GATE_SCRIPT, "sh", *spec.command,
                    ],
                    {},  # anything here could be read in the job as /proc/1/environ
                    file_actions=actions,
                    setsigmask=[],
                    setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM],
                )  # fmt: skip
            except OSError as error:
                raise LaunchError(f"cannot start {self._config.bwrap}: {error}") from error
            finally:
                pipes.close_child_ends()

    def _arguments(self, spec: SandboxSpec) -> bytes:
        arguments = [
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
            *("--unshare-cgroup-try", "--disable-userns", "--uid", str(UID), "--gid", str(GID)),
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
        ]
        if self._config.own_hostname:
            arguments += ["--hostname", HOSTNAME]
        for name, value in spec.env.items():
            arguments += ["--setenv", name, value]
        for directory in self._config.rootfs.directories:  # or bubblewrap makes them for itself alone
            arguments += ["--perms", "0755", "--dir", directory]
        for mount in self._config.rootfs.mounts:
            arguments += ["--ro-bind", mount.source, mount.target]
        for content, name in self._config.rootfs.links:
            arguments += ["--symlink", content, name]
        uploaded = sum(_tmpfs_bytes(len(file.data)) for file in spec.files)
        arguments += [
            # Read-only: no write to /proc/1/mem, oom_score_adj or what of /proc/sys belongs to the job's namespaces.
            *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", SHM_DIR),
            *("--perms", "1777", "--size", str(spec.limits.disk_bytes), "--tmpfs", TMP_DIR),
            *("--perms", "0755", "--size", str(spec.limits.disk_bytes + uploaded), "--tmpfs", JOB_DIR),
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", JOB_DIR),
            *("--add-seccomp-fd", str(CALLS_FILTER_FD), "--add-seccomp-fd", str(ARGUMENTS_FILTER_FD)),
        ]
        return b"".join(os.fsencode(argument) + b"\0" for argument in arguments)


class _Pipes:
    """The job's standard output and error: our ends non-blocking, the child's to be closed after the start."""

    def __init__(self) -> None:
        self.stdout, self.child_stdout = os.pipe()
        self.stderr, self.child_stderr = os.pipe()
        os.set_blocking(self.stdout, False)
        os.set_blocking(self.stderr, False)

    @classmethod
    def open(cls, stack: contextlib.ExitStack) -> _Pipes:
        pipes = cls()
        stack.callback(os.close, pipes.stdout)
        stack.callback(os.close, pipes.stderr)
        return pipes

    def close_child_ends(self) -> None:
        os.close(self.child_stdout)
        os.close(self.child_stderr)


def _standard_input(data: bytes) -> int:
    """The job's standard input: a sealed file, so that it is no memory to grow; /dev/null when there is none."""
    return kernel.sealed_memfd("stdin", data) if data else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _child_descriptors(sources: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """posix_spawn actions that give the child `sources` as descriptors 0, 1, 2 …; closes them here afterwards.

    They are moved out of the way of their targets first, or one could overwrite another.
    """
    lifted = []
    try:
        for source in sources:
            lifted.append(kernel.lift(source))
        yield [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(lifted)]
    finally:
        for fd in (*lifted, *sources):
            os.close(fd)


def _check_descriptors(found: list[int]) -> None:
    """Fail closed should anything of the service's have leaked into the sandbox."""
    if found != GATE_DESCRIPTORS:
        raise LaunchError(f"the sandbox inherited descriptors {found}, not only {GATE_DESCRIPTORS}")


def _tmpfs_bytes(size: int) -> int:
    """What a file of `size` bytes takes of a tmpfs: whole pages."""
    page = 4096
    return (size + page - 1) // page * page


def _setup_message(sandbox: BwrapSandbox, error: Exception) -> str:
    """bubblewrap's own words, which name the step that failed, else the error's."""
    with contextlib.suppress(OSError):
        said = os.read(sandbox.stderr_fd, ERROR_BYTES).decode("utf-8", "replace").strip()
        if said:
            return said.splitlines()[-1]
    return str(error)


def find_shell() -> str:
    """The quickest POSIX shell: dash starts in 0.6 ms, bash in 3."""
    for path in ("/usr/bin/dash", "/bin/dash", "/bin/sh"):
        if Path(path).exists():
            return path
    raise LaunchError("no POSIX shell found at /usr/bin/dash or /bin/sh")
