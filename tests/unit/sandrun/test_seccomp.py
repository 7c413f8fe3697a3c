"""What the compiled filters decide, by running them: a small machine for classic BPF (linux/filter.h)."""

from __future__ import annotations

import errno
import platform
import struct

import pyseccomp
import pytest

from sandrun.sandbox import seccomp, syscalls

ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003

pytestmark = pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="filters are compiled for this machine")


def decide(program: bytes, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Run one filter on one call."""
    arch = ARCHITECTURES[platform.machine()] if architecture is None else architecture
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(value & (2**64 - 1) for value in padded))
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator = position = 0
    while True:
        code, jump_true, jump_false, operand = instructions[position]
        position += 1
        if code == 0x20:  # load a word
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif code == 0x54:  # and
            accumulator &= operand
        elif code == 0x05:  # jump
            position += operand
        elif code == 0x06:  # return
            return int(operand)
        else:
            truth = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x35: accumulator >= operand}[code]
            position += jump_true if truth else jump_false


@pytest.fixture(scope="module")
def job_filter() -> seccomp.JobFilter:
    return seccomp.build()


def number_of(name: str) -> int:
    number: int = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
    return number


def verdict(job_filter: seccomp.JobFilter, name: str, *arguments: int) -> str:
    """What the kernel would answer: of both filters' decisions the smaller, as a signed number, wins."""
    results = [decide(program, number_of(name), *arguments) for program in (job_filter.calls, job_filter.arguments)]
    worst = min(results, key=lambda result: struct.unpack("<i", struct.pack("<I", result & 0xFFFF0000))[0])
    if worst == ALLOW:
        return "ok"
    if worst & 0xFFFF0000 == ERRNO:
        return errno.errorcode.get(worst & 0xFFFF, "pretended")
    assert worst == KILL_PROCESS
    return "killed"


@pytest.mark.parametrize(
    "name", ["read", "execve", "mmap", "futex", "openat", "wait4", "socketpair", "getrandom", "prlimit64"]
)
def test_ordinary_calls_pass(job_filter: seccomp.JobFilter, name: str) -> None:
    assert verdict(job_filter, name) == "ok"


@pytest.mark.parametrize(
    "name",
    ["ptrace", "keyctl", "bpf", "unshare", "mount", "umount2", "pivot_root", "setns", "perf_event_open", "userfaultfd",
     "process_vm_readv", "kcmp", "reboot", "open_by_handle_at", "chroot", "syslog", "quotactl", "init_module"],
)  # fmt: skip
def test_privileged_calls_are_refused(job_filter: seccomp.JobFilter, name: str) -> None:
    assert verdict(job_filter, name) == "EPERM"


@pytest.mark.parametrize(
    "name",
    ["memfd_create", "memfd_secret", "shmget", "shmat", "semget", "msgget", "mq_open", "io_uring_setup", "clone3",
     "vmsplice", "inotify_init1", "remap_file_pages", "io_setup"],
)  # fmt: skip
def test_hidden_channels_do_not_exist(job_filter: seccomp.JobFilter, name: str) -> None:
    assert verdict(job_filter, name) == "ENOSYS"


def test_a_call_that_the_list_does_not_know_does_not_exist(job_filter: seccomp.JobFilter) -> None:
    assert decide(job_filter.calls, 9999) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("flag", seccomp.NAMESPACE_FLAGS)
def test_clone_makes_no_namespace(job_filter: seccomp.JobFilter, flag: int) -> None:
    assert verdict(job_filter, "clone", flag | 17) == "EPERM"
    assert verdict(job_filter, "clone", 0x003D0F00) == "ok"  # a thread


UPPER = 1 << 32  # the kernel looks at the lower half of an int; so must the filter


@pytest.mark.parametrize("upper", [0, UPPER])
@pytest.mark.parametrize("request_", [0x5412, 0x541C])
def test_no_typing_into_terminals(job_filter: seccomp.JobFilter, request_: int, upper: int) -> None:
    assert verdict(job_filter, "ioctl", 0, request_ | upper) == "EPERM"
    assert verdict(job_filter, "ioctl", 0, 0x5413 | upper) == "ok"  # TIOCGWINSZ


@pytest.mark.parametrize("upper", [0, UPPER])
def test_socket_families(job_filter: seccomp.JobFilter, upper: int) -> None:
    answers = {family: verdict(job_filter, "socket", family | upper, 1, 0) for family in range(70)}
    assert {family for family, answer in answers.items() if answer == "ok"} == {1, 2, 10, 16}
    assert {answer for family, answer in answers.items() if family not in (1, 2, 10, 16)} == {"EAFNOSUPPORT"}
    assert verdict(job_filter, "socket", 1 << 31, 1, 0) == "EAFNOSUPPORT"


@pytest.mark.parametrize("protocol", [1, 12, 15, 1 << 31])
def test_netlink_only_for_routes(job_filter: seccomp.JobFilter, protocol: int) -> None:
    assert verdict(job_filter, "socket", 16, 3, protocol) == "EPROTONOSUPPORT"


@pytest.mark.parametrize("upper", [0, UPPER])
def test_socket_buffers_stay(job_filter: seccomp.JobFilter, upper: int) -> None:
    for option in (7, 8, 32, 33):
        assert verdict(job_filter, "setsockopt", 3, 1 | upper, option | upper) == "pretended"
    for option in (2, 6, 9, 20, 31, 34):
        assert verdict(job_filter, "setsockopt", 3, 1, option) == "ok"
    assert verdict(job_filter, "setsockopt", 3, 6, 7) == "ok"  # another level


def test_devices_cannot_be_made(job_filter: seccomp.JobFilter) -> None:
    for kind, answer in (
        (0o020666, "EPERM"),
        (0o060666, "EPERM"),
        (0o010666, "ok"),
        (0o100644, "ok"),
        (0o140755, "ok"),
    ):
        assert verdict(job_filter, "mknodat", 0, 0, kind) == answer


def test_calls_of_other_architectures_end_the_process(job_filter: seccomp.JobFilter) -> None:
    assert decide(job_filter.calls, 20, architecture=I386) == KILL_PROCESS
    if platform.machine() == "x86_64":
        assert decide(job_filter.calls, 0x40000000 | 39) == KILL_PROCESS  # x32


def test_no_call_is_both_allowed_and_refused() -> None:
    assert not set(syscalls.ALLOWED) & set(syscalls.REFUSED)


def test_the_permissive_filter_permits() -> None:
    assert decide(seccomp.permissive().calls, number_of("ptrace")) == ALLOW


@pytest.mark.parametrize("name", ["openat", "clone", "execve", "ppoll", "newfstatat", "renameat2"])
def test_the_lists_know_arm64(name: str) -> None:
    """What a libc on arm64 cannot do without is in the lists, whatever machine they are compiled on."""
    assert pyseccomp.resolve_syscall(pyseccomp.Arch.AARCH64, name) >= 0
    assert name in syscalls.ALLOWED or name == "clone"
