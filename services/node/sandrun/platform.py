"""Finding out what this machine offers, once at start."""

from __future__ import annotations

import shutil
from pathlib import Path

from sandrun import languages
from sandrun.sandbox import rootfs, seccomp
from sandrun.sandbox.bwrap import BwrapConfig, BwrapLauncher, find_shell
from sandrun.sandbox.launcher import LaunchError
from sandrun.service import Platform

__all__ = ["detect_platform"]


def detect_platform(directory: Path) -> Platform:
    """Launcher and interpreters. Raises LaunchError when a part is missing that no job can do without."""
    bwrap = shutil.which("bwrap", path="/usr/bin:/usr/local/bin")
    if bwrap is None:
        raise LaunchError("bubblewrap is not installed (apt-get install bubblewrap)")
    try:
        filters = seccomp.build()
    except (OSError, ValueError) as error:
        raise LaunchError(f"the system call filter cannot be built (apt-get install libseccomp2): {error}") from error
    interpreters = languages.detect()
    mounts = tuple(mount for interpreter in interpreters.values() for mount in interpreter.mounts)
    config = BwrapConfig(bwrap, find_shell(), rootfs.prepare(directory / "root", mounts), filters)
    return Platform(BwrapLauncher(config), interpreters, memory_mode="watchdog")
