"""Finding out what this machine offers, and proving it, once at start."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandrun import languages
from sandrun.languages import Interpreter
from sandrun.sandbox import rootfs, seccomp
from sandrun.sandbox.bwrap import BwrapConfig, BwrapLauncher, find_shell
from sandrun.sandbox.launcher import Launcher, LaunchError
from sandrun.selftest.report import Report
from sandrun.selftest.run import self_test

__all__ = ["Platform", "detect_platform"]


@dataclass(frozen=True, slots=True)
class Platform:
    """What this machine offers, and the proof that it holds."""

    launcher: Launcher
    interpreters: Mapping[str, Interpreter]
    report: Report
    memory_mode: str  #: what enforces the memory limit: `cgroup` or `watchdog`


def detect_platform(directory: Path) -> Platform:
    """Find the parts, put the strongest sandbox together, and test it (about a second).

    Raises LaunchError when a part is missing without which nothing could even be tested. Must be called from a thread
    that lives as long as it takes.
    """
    interpreters = languages.detect()
    launcher = _launcher(directory, interpreters.values())
    report = self_test(launcher, interpreters.get("python3"), directory)
    if not report.passed:
        # Where only the host name cannot be set, jobs see the container's: weaker, and said so, but no way out.
        fallback = launcher.without_own_hostname()
        second = self_test(fallback, interpreters.get("python3"), directory)
        if second.passed:
            launcher, report = fallback, second
    return Platform(launcher, interpreters, report, memory_mode="watchdog")


def _launcher(directory: Path, interpreters: Iterable[Interpreter]) -> BwrapLauncher:
    bwrap = shutil.which("bwrap", path="/usr/bin:/usr/local/bin")
    if bwrap is None:
        raise LaunchError("bubblewrap is not installed (apt-get install bubblewrap)")
    try:
        filters = seccomp.build()
    except (OSError, ValueError) as error:
        raise LaunchError(f"the system call filter cannot be built (apt-get install libseccomp2): {error}") from error
    mounts = tuple(mount for interpreter in interpreters for mount in interpreter.mounts)
    return BwrapLauncher(BwrapConfig(bwrap, find_shell(), rootfs.prepare(directory / "root", mounts), filters))
