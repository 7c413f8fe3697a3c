"""Finding out what this machine offers, and proving it, once at start."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandrun import languages
from sandrun.directories import private_directory
from sandrun.languages import Interpreter
from sandrun.sandbox import cgroup, rootfs, seccomp
from sandrun.sandbox.bwrap import BwrapConfig, BwrapLauncher, find_shell
from sandrun.sandbox.launcher import Launcher, LaunchError
from sandrun.selftest.report import Layer, Report
from sandrun.selftest.run import self_test
from sandrun.settings import TIERS, Settings

__all__ = ["Platform", "detect_platform"]


UTS_LAYER = "UTS namespace"  # as `diagnose` calls it


@dataclass(frozen=True, slots=True)
class Platform:
    """What this machine offers, and the proof that it holds."""

    launcher: Launcher
    interpreters: Mapping[str, Interpreter]
    report: Report
    memory_mode: str  #: what enforces the memory limit: `cgroup` or `watchdog`


def detect_platform(directory: Path, settings: Settings) -> Platform:
    """Find the parts, put the strongest sandbox together, and test it (about a second).

    Raises LaunchError when a part is missing without which nothing could even be tested. Must be called from a thread
    that lives as long as it takes.
    """
    interpreters = languages.detect()
    cgroups = _cgroups(settings)
    launcher = _launcher(directory, interpreters.values(), cgroups)
    report = self_test(launcher, interpreters.get("python3"), directory)
    if any(layer.name == UTS_LAYER and not layer.holds for layer in report.layers):
        # Where only the host name cannot be set, jobs see the container's: weaker, and said so, but no way out.
        launcher = launcher.without_own_hostname()
        report = self_test(launcher, interpreters.get("python3"), directory)
    report = Report([*report.layers, _memory_layer(cgroups), _tier_layer(launcher.tier, settings.min_tier)])
    return Platform(launcher, interpreters, report, memory_mode="watchdog" if cgroups is None else "cgroup")


def _cgroups(settings: Settings) -> cgroup.CgroupParent | None:
    try:
        return cgroup.find(settings.cgroup)
    except OSError as error:
        raise LaunchError(f"SANDRUN_CGROUP: {settings.cgroup} cannot be used: {error}") from error


def _memory_layer(cgroups: cgroup.CgroupParent | None) -> Layer:
    """A hard limit by the kernel is better than a measured one; both are proven by the attack on the limit."""
    if cgroups is None:
        mend = "delegate a cgroup to this service (docs/sandrun.md) for a limit that the kernel enforces"
        return Layer("memory by cgroup", False, "measured and ended by a watchdog, every 10 ms", mend, required=False)
    return Layer("memory by cgroup", True, f"enforced by the kernel, cgroup version {cgroups.version}")


def _tier_layer(tier: str, minimum: str) -> Layer:
    holds = TIERS.index(tier) <= TIERS.index(minimum)
    mend = f"set SANDRUN_MIN_TIER to {tier} or a weaker tier, or use a build that has {minimum}"
    return Layer("isolation tier", holds, f"{tier}, the least allowed is {minimum}", mend)


def _etc_directory() -> Path:
    """Apart from the job data and under a name that says nothing: jobs see it in their list of mounts."""
    return private_directory(Path(tempfile.gettempdir()) / f"etc-{os.getuid()}") / "etc"


def _launcher(
    directory: Path, interpreters: Iterable[Interpreter], cgroups: cgroup.CgroupParent | None
) -> BwrapLauncher:
    bwrap = shutil.which("bwrap", path="/usr/bin:/usr/local/bin")
    if bwrap is None:
        raise LaunchError("bubblewrap is not installed (apt-get install bubblewrap)")
    try:
        filters = seccomp.build()
    except (OSError, ValueError) as error:
        raise LaunchError(f"the system call filter cannot be built (apt-get install libseccomp2): {error}") from error
    mounts = tuple(mount for interpreter in interpreters for mount in interpreter.mounts)
    root = rootfs.prepare(_etc_directory(), mounts)
    return BwrapLauncher(BwrapConfig(bwrap, find_shell(), root, filters, cgroups=cgroups))
