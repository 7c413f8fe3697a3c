"""From bubblewrap's words to what the operator has to change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Diagnosis", "diagnose"]

SECCOMP = (
    "start the container with security_opt seccomp=deploy/seccomp-node.json (docker run --security-opt "
    "seccomp=deploy/seccomp-node.json): Docker's default profile forbids the calls that build a sandbox"
)
SYSTEM_PATHS = (
    "start the container with security_opt systempaths=unconfined (docker run --security-opt "
    "systempaths=unconfined): only where its own /proc is complete may a job get one of its own"
)
APPARMOR = (
    "load the node's AppArmor profile on the host, as root (install -m 0644 deploy/apparmor-node "
    "/etc/apparmor.d/sandrun-node && apparmor_parser --replace /etc/apparmor.d/sandrun-node), and start the container "
    "with security_opt apparmor=sandrun-node"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The layer that could not be built, and what mends it."""

    layer: str
    mend: str


#: A piece of bubblewrap's message (0.8 to 0.12), the layer it speaks of, and what mends it in a container.
KNOWN = (
    ("setting up uid map: Permission denied", "user namespace", APPARMOR),
    ("Failed to make / slave: Permission denied", "mount namespace", APPARMOR),
    ("mount proc", "PID namespace", SYSTEM_PATHS),
    ("hostname", "UTS namespace", SECCOMP),
    ("Failed to make / slave", "mount namespace", SECCOMP),
    ("pivot_root", "mount namespace", SECCOMP),
    ("unmount old root", "mount namespace", SECCOMP),
    ("umount old root", "mount namespace", SECCOMP),
    ("unshare user ns", "user namespace", SECCOMP),
    ("max_user_namespaces", "user namespace", SYSTEM_PATHS),
    ("loopback", "network namespace", SECCOMP),
    ("seccomp", "system call filter", "use a kernel with CONFIG_SECCOMP_FILTER"),
)


def diagnose(message: str) -> Diagnosis:
    """What a failed start means on this machine."""
    if "amespace" in message and "ermission" in message:
        return Diagnosis("user namespace", _why_no_namespaces())
    for piece, layer, mend in KNOWN:
        if piece in message:
            return Diagnosis(layer, mend)
    return Diagnosis("sandbox", "see the message; docs/sandrun.md lists what a host has to offer")


def _why_no_namespaces() -> str:
    """Which of the switches that forbid user namespaces is on."""
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "run on the host, as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if _read("/proc/sys/user/max_user_namespaces") == "0":
        return "run on the host, as root: sysctl -w user.max_user_namespaces=15000"
    if "Seccomp:\t2" in _read("/proc/self/status"):
        return SECCOMP
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return APPARMOR
    return SECCOMP


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
