"""The program that attacks the sandbox from inside. It runs there, alone: standard library only, no import of ours.

Prints one JSON object: for each attack what came of it. Judging that is `layers`' work.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)

# asm/unistd_64.h and asm-generic/unistd.h
SYSCALLS = {
    "x86_64": {
        "ptrace": 101,
        "keyctl": 250,
        "memfd_create": 319,
        "unshare": 272,
        "mount": 165,
        "bpf": 321,
        "clone3": 435,
    },
    "aarch64": {
        "ptrace": 117,
        "keyctl": 219,
        "memfd_create": 279,
        "unshare": 97,
        "mount": 40,
        "bpf": 280,
        "clone3": 435,
    },
}
CLONE_NEWUSER = 0x10000000
AF_VSOCK, AF_ALG = 40, 38
NETWORK_SECONDS = 0.5
KERNEL_WRITES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/self/oom_score_adj",
    "/proc/1/mem",
)
WRITES = ("/x", "/usr/x", "/etc/x", "/dev/x", "/job/x", "/tmp/x", "/dev/shm/x")  # noqa: S108 - the sandbox's own


def error_name(number: int) -> str:
    """A name such as EPERM, or 'ok' for 0."""
    return errno.errorcode.get(number, str(number)) if number else "ok"


def call(name: str, *arguments: Any) -> str:
    """The error that a system call answers, or 'ok'."""
    number = SYSCALLS.get(os.uname().machine, {}).get(name)
    if number is None:
        return "unknown architecture"
    ctypes.set_errno(0)
    result = LIBC.syscall(number, *arguments)
    return "ok" if result >= 0 else error_name(ctypes.get_errno())


def attempt(action: Callable[[], object]) -> str:
    """The error that an action ends with, or 'ok'."""
    try:
        action()
    except OSError as error:
        return error_name(error.errno or errno.EIO)
    return "ok"


def writable(path: str) -> str:
    """Whether a file can be made or changed: the error, or 'ok'."""
    result = attempt(lambda: Path(path).write_text("x"))
    if result == "ok":
        attempt(Path(path).unlink)
    return result


def open_for_writing(path: str) -> None:
    """Open, but write nothing: what these files would do is not for a test."""
    Path(path).open("r+b").close()


def status_fields() -> dict[str, str]:
    """What the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


def content(path: str) -> str:
    """What a file says, or the error that reading it ends with."""
    try:
        return Path(path).read_bytes()[:4096].decode("latin-1")
    except OSError as error:
        return error_name(error.errno or 0)


def connect(family: int, address: Any) -> str:
    """The error that connecting answers, or 'ok'."""
    with socket.socket(family) as sock:
        sock.settimeout(NETWORK_SECONDS)
        try:
            return error_name(sock.connect_ex(address))
        except OSError as error:
            return error_name(error.errno or errno.ETIMEDOUT)


def raised_buffer() -> bool:
    """Whether a socket's buffer grows when asked to: memory that no measure of the service sees."""
    first, second = socket.socketpair()
    with first, second:
        before = first.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before * 8)
        return first.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before


def numbers(path: str) -> list[int]:
    """The entries of a directory that are numbers."""
    return sorted(int(entry.name) for entry in Path(path).iterdir() if entry.name.isdigit())


def identity() -> dict[str, Any]:
    """Who the job is, with which rights, in which namespaces."""
    fields = status_fields()
    return {
        "uid": os.getuid(),
        "capabilities": {name: fields.get(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        "no_new_privileges": fields.get("NoNewPrivs"),
        "seccomp_mode": fields.get("Seccomp"),
        "namespaces": {
            name: str(Path("/proc/self/ns", name).readlink())
            for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
        },
        "hostname": os.uname().nodename,
    }


def surroundings(service_directory: str) -> dict[str, Any]:
    """What it sees and what it can write."""
    return {
        "root": sorted(entry.name for entry in Path("/").iterdir()),
        "writes": {path: writable(path) for path in WRITES},
        "kernel_writes": {path: attempt(partial(open_for_writing, path)) for path in KERNEL_WRITES},
        "service_directory": attempt(lambda: list(Path(service_directory).iterdir())),
        "pids": numbers("/proc"),
        "init_environment": content("/proc/1/environ"),
        "environment": sorted(os.environ),
        "descriptors": numbers("/proc/self/fd"),
    }


def network(service_port: int, abstract_name: str) -> dict[str, Any]:
    """What it can reach."""
    return {
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "loopback_service": connect(socket.AF_INET, ("127.0.0.1", service_port)),
        "abstract_service": connect(socket.AF_UNIX, "\0" + abstract_name),
        "internet": connect(socket.AF_INET, ("192.0.2.1", 80)),
        "metadata_service": connect(socket.AF_INET, ("169.254.169.254", 80)),
    }


def system_calls() -> dict[str, Any]:
    """What the kernel does for it."""
    return {
        "calls": {
            "ptrace": call("ptrace", 0, 0, 0, 0),
            "keyctl": call("keyctl", 0, -3, 0, 0, 0),
            "memfd_create": call("memfd_create", b"x", 0),
            "unshare": call("unshare", CLONE_NEWUSER),
            "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
            "bpf": call("bpf", 0, 0, 0),
            "clone3": call("clone3", 0, 0),
        },
        "sockets": {
            "vsock": attempt(lambda: socket.socket(AF_VSOCK, socket.SOCK_STREAM).close()),
            "alg": attempt(lambda: socket.socket(AF_ALG, socket.SOCK_SEQPACKET).close()),
            "raw": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        },
        "raised_buffer": raised_buffer(),
    }


def priorities() -> dict[str, Any]:
    """How it stands beside the service."""
    return {
        "nice": os.nice(0),
        "oom_score_adj": content("/proc/self/oom_score_adj").strip(),
        "rlimits": {
            name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))
            for name in ("NPROC", "NOFILE", "FSIZE", "CORE", "MSGQUEUE", "SIGPENDING")
        },
    }


def main() -> None:
    """Attack everything, tell what came of it."""
    service_port, abstract_name, service_directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    findings = identity() | surroundings(service_directory) | network(service_port, abstract_name)
    json.dump(findings | system_calls() | priorities(), sys.stdout)


main()
