"""Writing uploaded files into a directory that only a descriptor names."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandrun.sandbox.spec import InputFile

__all__ = ["write_files"]

DIRECTORY_MODE = 0o755
FILE_MODE, PROGRAM_MODE = 0o644, 0o755


def write_files(directory_fd: int, files: Sequence[InputFile]) -> None:
    """Create `files` below an empty directory; links last, so that no path goes through one.

    The paths are relative, safe, and none is another's directory (`uploads` has checked that).
    """
    made: set[str] = set()
    for file in sorted(files, key=lambda each: each.link is not None):
        _make_directories(directory_fd, file.path.rpartition("/")[0], made)
        if file.link is not None:
            os.symlink(file.link, file.path, dir_fd=directory_fd)
        else:
            _write(directory_fd, file)


def _write(directory_fd: int, file: InputFile) -> None:
    mode = PROGRAM_MODE if file.executable else FILE_MODE
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(file.path, flags, mode, dir_fd=directory_fd)
    try:
        view = memoryview(file.data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _make_directories(directory_fd: int, path: str, made: set[str]) -> None:
    if not path or path in made:
        return
    _make_directories(directory_fd, path.rpartition("/")[0], made)
    os.mkdir(path, DIRECTORY_MODE, dir_fd=directory_fd)
    made.add(path)
