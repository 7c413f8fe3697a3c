"""The job's system call filter: two programs that the kernel runs on every call, the stricter answer wins.

The first says which calls there are, the second which arguments they may not have. Two, because libseccomp cannot say
"this call, unless": a filter that allows a call and refuses some of its arguments needs its own list of what remains,
compared in 64 bits where the kernel looks at 32, and that difference has been a way around such filters before.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

import pyseccomp

from sandrun.sandbox.syscalls import ALLOWED, REFUSED

__all__ = ["JobFilter", "build", "permissive"]

LOW_32 = 0xFFFFFFFF  # an int argument: the kernel ignores the upper half, so must we

# include/uapi/linux/sched.h: each would make a new namespace. (CLONE_NEWTIME is not among clone's flags.)
NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)

# Address families, bits/socket.h. AF_NETLINK only for NETLINK_ROUTE, which listing the interfaces needs.
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE = 0
AF_LIMIT = 64  # beyond every family there is (AF_MCTP, 45, is the last)

# Socket buffers may not be raised: 100 socket pairs held 848 MB that no measure showed. The call answers success, as
# the kernel does when it silently takes less than was asked for; runtimes do not look.
SOL_SOCKET = 1
BUFFER_OPTIONS = (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE

# Typing into somebody's terminal, asm-generic/ioctls.h.
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, LOW_32)  # PER_LINUX, PER_LINUX32, with UNAME26, and the query

FILE_TYPE_MASK, CHARACTER_DEVICE, BLOCK_DEVICE = 0o170000, 0o020000, 0o060000

OTHER_ARCHITECTURE = 2  # SCMP_FLTATR_ACT_BADARCH: 32-bit and x32 calls end the whole process
OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE
BINARY_TREE = 2


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Two compiled filters, to be installed in this order."""

    calls: bytes
    arguments: bytes


def build() -> JobFilter:
    """Compile both for this machine (5 ms). Raises OSError or ValueError when libseccomp cannot."""
    return JobFilter(calls=_export(call_list()), arguments=_export(argument_guard()))


def permissive() -> JobFilter:
    """Filters that let everything pass, for the self-test: the other layers must hold without any."""
    everything = _export(_new(pyseccomp.ALLOW))
    return JobFilter(calls=everything, arguments=everything)


def call_list() -> pyseccomp.SyscallFilter:
    """Which calls there are: unknown ones do not exist, privileged ones are refused."""
    rules = _new(pyseccomp.ERRNO(errno.ENOSYS))
    for name in ALLOWED:
        _add(rules, pyseccomp.ALLOW, name)
    for name in REFUSED:
        _add(rules, pyseccomp.ERRNO(errno.EPERM), name)
    for name in ("clone", "ioctl", "mknod", "mknodat", "socket"):
        _add(rules, pyseccomp.ALLOW, name)
    for value in PERSONALITIES:
        _add(rules, pyseccomp.ALLOW, "personality", _is(0, value))
    return rules


def argument_guard() -> pyseccomp.SyscallFilter:
    """Which arguments are refused, of calls that the first filter lets pass."""
    rules = _new(pyseccomp.ALLOW)
    for flag in NAMESPACE_FLAGS:
        _add(rules, pyseccomp.ERRNO(errno.EPERM), "clone", _has(0, flag, flag))
    for request in TERMINAL_INJECTION:
        _add(rules, pyseccomp.ERRNO(errno.EPERM), "ioctl", _is(1, request))
    for option in BUFFER_OPTIONS:
        _add(rules, pyseccomp.ERRNO(0), "setsockopt", _is(1, SOL_SOCKET), _is(2, option))
    for kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
        _add(rules, pyseccomp.ERRNO(errno.EPERM), "mknod", _has(1, FILE_TYPE_MASK, kind))
        _add(rules, pyseccomp.ERRNO(errno.EPERM), "mknodat", _has(2, FILE_TYPE_MASK, kind))
    _refuse_other_sockets(rules)
    return rules


def _refuse_other_sockets(rules: pyseccomp.SyscallFilter) -> None:
    unsupported = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in range(AF_LIMIT):
        if family not in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK):
            _add(rules, unsupported, "socket", _is(0, family))
    for bit in range(6, 32):  # family 64 and beyond
        _add(rules, unsupported, "socket", _has(0, 1 << bit, 1 << bit))
    for bit in range(32):  # any netlink protocol with a bit set is not NETLINK_ROUTE (0)
        _add(rules, pyseccomp.ERRNO(errno.EPROTONOSUPPORT), "socket", _is(0, AF_NETLINK), _has(2, 1 << bit, 1 << bit))


def _new(default: int) -> pyseccomp.SyscallFilter:
    rules = pyseccomp.SyscallFilter(default)
    rules.set_attr(OTHER_ARCHITECTURE, pyseccomp.KILL_PROCESS)
    rules.set_attr(OPTIMIZE, BINARY_TREE)
    return rules


def _add(rules: pyseccomp.SyscallFilter, action: int, name: str, *arguments: pyseccomp.Arg) -> None:
    if pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) >= 0:  # negative: not a call of this architecture
        rules.add_rule(action, name, *arguments)


def _is(index: int, value: int) -> pyseccomp.Arg:
    return _has(index, LOW_32, value)


def _has(index: int, mask: int, value: int) -> pyseccomp.Arg:
    return pyseccomp.Arg(index, pyseccomp.MASKED_EQ, mask, value)


def _export(rules: pyseccomp.SyscallFilter) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    with os.fdopen(fd, "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
