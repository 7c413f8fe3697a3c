"""Judging what the probe found: each layer's proof in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandrun.sandbox.rootfs import HOSTNAME
from sandrun.selftest.diagnose import SECCOMP
from sandrun.selftest.report import Layer

__all__ = ["ALLOWED_ENVIRONMENT", "EXPECTED_ROOT", "judge_bare", "judge_filtered"]

EXPECTED_ROOT = {"bin", "dev", "etc", "job", "lib", "lib32", "lib64", "libx32", "opt", "proc", "sbin", "tmp", "usr"}
ALLOWED_ENVIRONMENT = {"HOME", "LANG", "PATH", "PWD", "TMPDIR", "USER", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
BUG = "this is a fault of sandrun or of this kernel: please report it with the output of sandrun doctor"
NO_CAPABILITY = "0000000000000000"
REQUIRED_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")
UNREACHABLE = ("ENETUNREACH", "EHOSTUNREACH")


def judge_bare(found: Mapping[str, Any], outside_namespaces: Mapping[str, str]) -> list[Layer]:
    """Layers that must hold without any help from the system call filter (the probe ran without one)."""
    return [
        _namespaces(found["namespaces"], outside_namespaces),
        _privileges(found),
        _file_system(found),
        _process_view(found),
        _network(found),
        _hostname(found["hostname"]),
        _inheritance(found),
        _priorities(found),
    ]


def judge_filtered(found: Mapping[str, Any]) -> list[Layer]:
    """Layers that the system call filter adds."""
    wrong = [
        f"{name} answers {found['calls'][name]}"
        for name, expected in (
            ("ptrace", "EPERM"),
            ("keyctl", "EPERM"),
            ("unshare", "EPERM"),
            ("mount", "EPERM"),
            ("bpf", "EPERM"),
            ("memfd_create", "ENOSYS"),
            ("clone3", "ENOSYS"),
        )
        if found["calls"][name] != expected
    ]
    wrong += [f"a {name} socket opens" for name, result in found["sockets"].items() if result == "ok"]
    if found["raised_buffer"]:
        wrong.append("socket buffers can be raised")
    if found["seccomp_mode"] != "2":
        wrong.append(f"seccomp mode is {found['seccomp_mode']}")
    proof = "ptrace, keyctl, unshare, mount, bpf, memfd_create, clone3, vsock, alg and raw sockets: all refused"
    return [_layer("system call filter", wrong, proof, BUG)]


def _namespaces(inside: Mapping[str, str], outside: Mapping[str, str]) -> Layer:
    shared = [f"the {name} namespace is the service's" for name in REQUIRED_NAMESPACES if inside[name] == outside[name]]
    return _layer("namespaces", shared, f"{', '.join(REQUIRED_NAMESPACES)}: each differs from the service's", BUG)


def _privileges(found: Mapping[str, Any]) -> Layer:
    wrong = [f"{name} is {value}" for name, value in found["capabilities"].items() if value != NO_CAPABILITY]
    if found["no_new_privileges"] != "1":
        wrong.append("no-new-privileges is off")
    if found["uid"] == 0:
        wrong.append("the job is root in its namespace")
    for name in ("unshare", "mount"):
        if found["calls"][name] == "ok":
            wrong.append(f"{name} succeeded")
    return _layer("privileges", wrong, "no capability in any set, no nested namespace, no mount, not root", BUG)


def _file_system(found: Mapping[str, Any]) -> Layer:
    wrong = [f"{name} is visible in /" for name in found["root"] if name not in EXPECTED_ROOT]
    for path, result in found["writes"].items():
        ours = path.startswith(("/job/", "/tmp/", "/dev/shm/"))  # noqa: S108 - the sandbox's own
        if ours and result != "ok":
            wrong.append(f"{path} cannot be written ({result})")
        elif not ours and result == "ok":
            wrong.append(f"{path} can be written")
    wrong += [f"{path} can be written" for path, result in found["kernel_writes"].items() if result == "ok"]
    if found["service_directory"] == "ok":
        wrong.append("the service's data directory is visible")
    return _layer("file system", wrong, "/, /usr, /etc, /dev and /proc refused writes; no other directory in view", BUG)


def _process_view(found: Mapping[str, Any]) -> Layer:
    others = [f"process {pid} is visible" for pid in found["pids"] if pid > 2]
    return _layer("process view", others, "/proc shows the job's own processes only", BUG)


def _network(found: Mapping[str, Any]) -> Layer:
    wrong = [f"interface {name}" for name in found["interfaces"] if name != "lo"]
    for name in ("loopback_service", "abstract_service"):
        if found[name] != "ECONNREFUSED":
            wrong.append(f"connecting to a listening {name.replace('_', ' ')} answered {found[name]}")
    for name in ("internet", "metadata_service"):
        if found[name] not in UNREACHABLE:
            wrong.append(f"connecting to the {name.replace('_', ' ')} answered {found[name]}")
    proof = "only lo; a listener on the service's loopback, an abstract socket, the internet: all unreachable"
    return _layer("network", wrong, proof, BUG)


def _hostname(found: str) -> Layer:
    wrong = [] if found == HOSTNAME else [f"jobs see the host's name, {found}"]
    return _layer("host name", wrong, f"jobs see {HOSTNAME!r}", SECCOMP, required=False)


def _inheritance(found: Mapping[str, Any]) -> Layer:
    wrong = [f"descriptor {number} is open" for number in found["descriptors"] if number > 3]  # 3 lists them
    wrong += [f"{name} is in the environment" for name in found["environment"] if name not in ALLOWED_ENVIRONMENT]
    if found["init_environment"]:
        wrong.append("/proc/1/environ is not empty")
    return _layer("inheritance", wrong, "descriptors 0, 1 and 2 only; nothing of the service's environment", BUG)


def _priorities(found: Mapping[str, Any]) -> Layer:
    wrong = []
    if found["nice"] != 19:
        wrong.append(f"nice is {found['nice']}")
    if found["oom_score_adj"] != "1000":
        wrong.append(f"oom_score_adj is {found['oom_score_adj']}")
    for name, (soft, hard) in found["rlimits"].items():
        if soft < 0 or hard < 0:
            wrong.append(f"RLIMIT_{name} is not set")
    return _layer("priorities and rlimits", wrong, "nice 19, first for the out-of-memory killer, rlimits set", BUG)


def _layer(name: str, wrong: Sequence[str], proof: str, mend: str, *, required: bool = True) -> Layer:
    return Layer(name, not wrong, "; ".join(wrong) if wrong else proof, mend, required)
