"""The self-test's judgement: one finding that is not as it must be, and its layer does not hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sandrun.selftest.diagnose import APPARMOR, SECCOMP, SYSTEM_PATHS, diagnose
from sandrun.selftest.layers import judge_bare, judge_filtered
from sandrun.selftest.report import Layer, Report

OUTSIDE = {name: f"{name}:[1]" for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")}
NONE = "0000000000000000"
FINDINGS: dict[str, Any] = {
    "uid": 1000,
    "capabilities": dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), NONE),
    "no_new_privileges": "1",
    "seccomp_mode": "2",
    "namespaces": {name: f"{name}:[2]" for name in OUTSIDE},
    "hostname": "sandbox",
    "root": ["bin", "dev", "etc", "job", "lib", "lib64", "proc", "sbin", "tmp", "usr"],
    "writes": {
        "/x": "EROFS",
        "/usr/x": "EROFS",
        "/etc/x": "EROFS",
        "/dev/x": "EROFS",
        "/job/x": "ok",
        "/tmp/x": "ok",
        "/dev/shm/x": "ok",
    },
    "kernel_writes": {"/proc/sys/kernel/core_pattern": "EROFS", "/proc/1/mem": "EROFS"},
    "service_directory": "ENOENT",
    "pids": [1, 2],
    "init_environment": "",
    "environment": ["HOME", "LANG", "PATH", "PWD"],
    "descriptors": [0, 1, 2, 3],
    "interfaces": ["lo"],
    "loopback_service": "ECONNREFUSED",
    "abstract_service": "ECONNREFUSED",
    "internet": "ENETUNREACH",
    "metadata_service": "ENETUNREACH",
    "calls": {
        "ptrace": "EPERM",
        "keyctl": "EPERM",
        "memfd_create": "ENOSYS",
        "unshare": "EPERM",
        "mount": "EPERM",
        "bpf": "EPERM",
        "clone3": "ENOSYS",
    },
    "sockets": {"vsock": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT", "raw": "EPERM"},
    "raised_buffer": False,
    "nice": 19,
    "oom_score_adj": "1000",
    "rlimits": {"NPROC": [33, 33], "NOFILE": [64, 64]},
}


def layers_of(findings: dict[str, Any]) -> list[Layer]:
    return [*judge_bare(findings, OUTSIDE), *judge_filtered(findings)]


def test_all_as_it_must_be() -> None:
    assert all(layer.holds for layer in layers_of(FINDINGS))


@pytest.mark.parametrize(
    ("path", "value", "layer"),
    [
        (("namespaces", "net"), "net:[1]", "namespaces"),
        (("capabilities", "CapBnd"), "00000000a80425fb", "privileges"),
        (("no_new_privileges",), "0", "privileges"),
        (("uid",), 0, "privileges"),
        (("calls", "unshare"), "ok", "privileges"),
        (("root",), ["bin", "opt", "home"], "file system"),
        (("writes", "/usr/x"), "ok", "file system"),
        (("writes", "/tmp/x"), "EROFS", "file system"),
        (("kernel_writes", "/proc/1/mem"), "ok", "file system"),
        (("service_directory",), "ok", "file system"),
        (("pids",), [1, 2, 77], "process view"),
        (("interfaces",), ["eth0", "lo"], "network"),
        (("loopback_service",), "ok", "network"),
        (("abstract_service",), "ok", "network"),
        (("internet",), "ETIMEDOUT", "network"),
        (("metadata_service",), "ok", "network"),
        (("descriptors",), [0, 1, 2, 3, 9], "inheritance"),
        (("environment",), ["BROKER_KEY"], "inheritance"),
        (("init_environment",), "BROKER_KEY=x", "inheritance"),
        (("nice",), 0, "priorities and rlimits"),
        (("oom_score_adj",), "0", "priorities and rlimits"),
        (("rlimits", "NPROC"), [-1, -1], "priorities and rlimits"),
        (("calls", "ptrace"), "ok", "system call filter"),
        (("calls", "memfd_create"), "ok", "system call filter"),
        (("sockets", "vsock"), "ok", "system call filter"),
        (("raised_buffer",), True, "system call filter"),
        (("seccomp_mode",), "0", "system call filter"),
    ],
)
def test_each_finding_breaks_its_layer(path: tuple[str, ...], value: Any, layer: str) -> None:
    findings = copy.deepcopy(FINDINGS)
    target = findings
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert layer in [each.name for each in layers_of(findings) if not each.holds and each.required]


def test_the_hosts_name_is_a_weakness_but_no_reason_to_refuse() -> None:
    report = Report(layers_of(FINDINGS | {"hostname": "0123456789ab"}))
    assert report.passed
    assert "weaker" in report.table()


def test_a_missing_layer_is_named_with_what_mends_it() -> None:
    report = Report(
        [Layer("a", True, "fine"), Layer("b", False, "broken", "mend b"), Layer("c", False, "broken", "mend c")]
    )
    assert not report.passed
    assert report.refusal is not None
    for words in ("'b'", "mend b", "1 more"):
        assert words in report.refusal
    assert report.shown()["layers"][1]["mend"] == "mend b"
    assert "mend" not in report.shown()["layers"][0]
    assert "MISSING" in report.table()
    assert "-> mend c" in report.table()


@pytest.mark.parametrize(
    ("message", "layer", "mend"),
    [
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "PID namespace", SYSTEM_PATHS),
        ("bwrap: Can't mount proc on /proc: Operation not permitted", "PID namespace", SYSTEM_PATHS),
        ("bwrap: Failed to make / slave: Permission denied", "mount namespace", APPARMOR),
        ("bwrap: Failed to make / slave: Operation not permitted", "mount namespace", SECCOMP),
        ("bwrap: setting up uid map: Permission denied", "user namespace", APPARMOR),
        ("bwrap: pivot_root: Operation not permitted", "mount namespace", SECCOMP),
        ("bwrap: Can't set hostname to sandbox: Operation not permitted", "UTS namespace", SECCOMP),
        ("bwrap: unshare user ns: Operation not permitted", "user namespace", SECCOMP),
        ("something new", "sandbox", ""),
    ],
)
def test_bubblewraps_words_lead_to_what_mends_them(message: str, layer: str, mend: str) -> None:
    found = diagnose(message)
    assert found.layer == layer
    assert mend in found.mend


def test_no_namespaces_at_all_names_a_switch() -> None:
    found = diagnose("bwrap: No permissions to create a new namespace, likely because ...")
    assert found.layer == "user namespace"
    assert any(word in found.mend for word in ("seccomp", "sysctl", "apparmor"))
