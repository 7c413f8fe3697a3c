"""Directories that are ours alone, in places where anybody may make one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["DirectoryError", "private_directory"]


class DirectoryError(Exception):
    """A directory cannot be used. The text says why and what to set."""


def private_directory(path: Path) -> Path:
    """Make `path`, or take it over if it is ours. In /tmp somebody else may have made one, or a link, of that name."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise DirectoryError(
            f"cannot use the directory {path}: {error.strerror}; set SANDRUN_DATA_DIR or TMPDIR"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DirectoryError(f"{path} belongs to somebody else; set SANDRUN_DATA_DIR or TMPDIR")
    path.chmod(0o700)
    return path
