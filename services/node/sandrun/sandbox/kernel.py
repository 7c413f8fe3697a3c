"""The few kernel interfaces that the standard library does not offer."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
import threading
from functools import cache
from pathlib import Path

__all__ = [
    "become_subreaper",
    "children_of",
    "exit_status_of",
    "keeps_exit_status",
    "leftovers",
    "lift",
    "receive_with_pid",
    "sealed_memfd",
]

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

# linux/pidfd.h, kernel 6.15 and newer: the exit status of a process that has been reaped, by whomever.
PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes)
PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_SIZE = 64
PIDFD_INFO_EXIT_CODE_OFFSET = 60

F_DUPFD_CLOEXEC = 1030
UCRED = struct.Struct("3i")  # pid, uid, gid


def become_subreaper() -> None:
    """Make this process the parent of orphaned descendants, so that it can wait for a sandbox's init itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "prctl(PR_SET_CHILD_SUBREAPER)")


class Leftovers:
    """Children that did not end in time: dead one day, they would stay as zombies for good. Thread-safe."""

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._lock = threading.Lock()

    def add(self, pid: int) -> None:
        """Nobody else will wait for this child of ours."""
        with self._lock:
            self._pids.add(pid)

    def reap(self) -> int:
        """Wait for those that have ended meanwhile; returns how many are left."""
        with self._lock:
            for pid in list(self._pids):
                try:
                    ended, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    ended = pid
                if ended:
                    self._pids.discard(pid)
            return len(self._pids)


#: Those of this process.
leftovers = Leftovers()


def children_of(pid: int) -> list[int]:
    """The children of a process, none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def lift(fd: int) -> int:
    """A close-on-exec duplicate of `fd` numbered 64 or higher, out of the way of the numbers a child gets."""
    return fcntl.fcntl(fd, F_DUPFD_CLOEXEC, 64)


def sealed_memfd(name: str, data: bytes) -> int:
    """A file in memory that holds `data`, positioned at its start, and that nobody can change or grow."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(
        fd,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
    )
    return fd


def receive_with_pid(sock: socket.socket) -> tuple[bytes, int | None]:
    """One message and the sender's process id in our own PID namespace, vouched for by the kernel.

    The socket needs SO_PASSCRED. Empty bytes mean the end of file.
    """
    data, ancillary, _, _ = sock.recvmsg(64, socket.CMSG_SPACE(UCRED.size))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid: int = UCRED.unpack(content[: UCRED.size])[0]
            return data, pid
    return data, None


def give_back_memory() -> None:
    """Have the C library return what it freed: after big uploads and outputs it holds on to a hundred MiB otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


@cache
def keeps_exit_status() -> bool:
    """Whether `exit_status_of` works on this kernel; found by trying, once."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    pidfd = os.pidfd_open(pid)
    try:
        _, status = os.waitpid(pid, 0)
        return exit_status_of(pidfd) == status
    finally:
        os.close(pidfd)


def exit_status_of(pidfd: int) -> int | None:
    """The wait status of a process that was reaped by another, or None where the kernel (before 6.15) keeps none."""
    if sys.byteorder != "little":
        return None
    request = bytearray(PIDFD_INFO_SIZE)
    struct.pack_into("<Q", request, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, request, True)
    except OSError:
        return None
    if not struct.unpack_from("<Q", request, 0)[0] & PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("<i", request, PIDFD_INFO_EXIT_CODE_OFFSET)[0]
    return status
