"""Copying what a job left in its directory, when every process that could change it is dead.

Everything is opened relative to a directory descriptor, without following links and without blocking; only plain files
are taken; entries, depth, bytes and names are bounded. What is passed over is counted and told.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandrun.names import MAX_DEPTH, is_keepable
from sandrun.outputs.collected import CollectedFile, Dropped

__all__ = ["CollectLimits", "Collection", "collect"]

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
OPEN_DIRECTORY = OPEN_FILE | os.O_DIRECTORY
DIRECTORY_MODE = 0o755
CHUNK_BYTES = 256 * 1024
UNKNOWN_TYPE = "application/octet-stream"
DROPPED_TOLD = 100  #: files that are named with the reason why they were not kept; all are counted in the notes


@dataclass(frozen=True, slots=True)
class CollectLimits:
    """Bounds of what is taken of one job."""

    files: int
    total_bytes: int
    entries: int = 50_000  #: looked at; 100,000 take about a second
    depth: int = MAX_DEPTH


@dataclass(slots=True)
class Collection:
    """What was taken, and how often something was passed over and why."""

    files: dict[str, CollectedFile] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    dropped: list[Dropped] = field(default_factory=list)

    def pass_over(self, path: str, size: int | None, reason: str, why: str) -> None:
        """Count what was not kept; the first DROPPED_TOLD by name."""
        self.passed_over[why] += 1
        if path and len(self.dropped) < DROPPED_TOLD:
            self.dropped.append(Dropped(path, size, reason))

    def notes(self) -> list[str]:
        """One sentence for each reason."""
        return [f"{count} not kept: {reason}" for reason, count in sorted(self.passed_over.items())]


def collect(
    directory_fd: int,
    target: Path,
    wanted: Callable[[str], bool],
    unchanged: Mapping[str, bytes],
    limits: CollectLimits,
) -> Collection:
    """Copy the wanted files below `directory_fd` into `target` (made when there is a first one).

    A file whose content is still that of `unchanged` is no output. Never raises for anything that the job did.
    """
    collection = Collection()
    left = limits.total_bytes
    copies: dict[tuple[int, int], CollectedFile] = {}
    with contextlib.suppress(OSError):
        os.fchmod(directory_fd, DIRECTORY_MODE)  # ours to read, whatever the job made of it
    for path, parent_fd, name in _walk(directory_fd, wanted, limits, collection):
        if len(collection.files) >= limits.files:
            collection.pass_over(path, _size(parent_fd, name), "too_many", f"more than {limits.files} files")
            continue
        stored = target / str(len(collection.files))
        copied = _copy(_Source(parent_fd, name, path), stored, left, unchanged.get(path), copies)
        if isinstance(copied, _Refusal):
            collection.pass_over(path, copied.size, copied.reason, copied.why)
        elif copied is not None:
            collection.files[path] = copied
            left -= copied.size
    return collection


def _walk(
    directory_fd: int, wanted: Callable[[str], bool], limits: CollectLimits, collection: Collection
) -> Iterator[tuple[str, int, str]]:
    """Every wanted entry that may be a plain file: its path, a descriptor of its directory, and its name there."""
    seen = 0
    pending: list[str] = [""]
    while pending:
        directory = pending.pop()
        fd = _open_directory(directory_fd, directory)
        if fd is None:
            collection.pass_over(directory, None, "unreadable", "unreadable directories")
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    seen += 1
                    if seen > limits.entries:
                        collection.pass_over("", None, "too_many", f"whatever came after {limits.entries} entries")
                        return
                    path = f"{directory}/{entry.name}" if directory else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if path.count("/") + 1 < limits.depth:
                            pending.append(path)
                        else:
                            collection.pass_over(path, None, "depth", f"directories deeper than {limits.depth}")
                    elif not wanted(path):
                        continue
                    elif not is_keepable(path):
                        collection.pass_over("", None, "name", "names that are too long")
                    elif entry.is_symlink():
                        collection.pass_over(path, None, "link", "links")
                    elif entry.is_file(follow_symlinks=False):
                        yield path, fd, entry.name
                    else:
                        collection.pass_over(path, None, "special", "FIFOs, sockets and devices")
        finally:
            os.close(fd)


def _open_directory(root_fd: int, path: str) -> int | None:
    """Open a directory part by part: only the last part of a path is safe from links."""
    fd = os.dup(root_fd)  # not opened anew: the job may have forbidden that to everybody
    for part in path.split("/") if path else ():
        try:
            below = os.open(part, OPEN_DIRECTORY, dir_fd=fd)
        except OSError:
            below = None
        os.close(fd)
        if below is None:
            return None
        fd = below
    return fd


def _size(parent_fd: int, name: str) -> int | None:
    with contextlib.suppress(OSError):
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_size
    return None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a file is not kept: a word for programs and a few for people."""

    reason: str
    why: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    parent_fd: int
    name: str
    path: str


def _copy(
    entry: _Source,
    stored: Path,
    most_bytes: int,
    unchanged: bytes | None,
    copies: dict[tuple[int, int], CollectedFile],
) -> CollectedFile | _Refusal | None:
    """The copy, or why there is none, or None for an input that did not change. One copy serves all names of a file."""
    try:
        source = os.open(entry.name, OPEN_FILE, dir_fd=entry.parent_fd)
    except OSError:
        return _Refusal("unreadable", "unreadable files")
    found = os.fstat(source)
    try:
        if not stat.S_ISREG(found.st_mode):
            return _Refusal("special", "FIFOs, sockets and devices")
        if found.st_size > most_bytes:  # claimed, not read: a sparse file may say a terabyte
            return _Refusal("too_large", "too big", found.st_size)
        if unchanged is not None and found.st_size == len(unchanged) and _same(source, unchanged):
            return None
        mime_type = mimetypes.guess_type(entry.path)[0] or UNKNOWN_TYPE
        copy = copies.get((found.st_dev, found.st_ino))
        if copy is not None:
            return replace(copy, path=entry.path, mime_type=mime_type)
        stored.parent.mkdir(mode=0o700, exist_ok=True)
        size, digest = _copy_bytes(source, stored, most_bytes)
    except OSError as error:
        return _Refusal("storage_full", f"the node could not store them ({error.strerror})", found.st_size)
    finally:
        os.close(source)
    copied = CollectedFile(entry.path, size, digest, mime_type, stored)
    if found.st_nlink > 1:
        copies[found.st_dev, found.st_ino] = copied
    return copied


def _same(source: int, expected: bytes) -> bool:
    return os.pread(source, len(expected) + 1, 0) == expected


def _copy_bytes(source: int, stored: Path, most_bytes: int) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with stored.open("xb") as target:
        while size < most_bytes and (data := os.read(source, min(CHUNK_BYTES, most_bytes - size))):
            digest.update(data)
            target.write(data)
            size += len(data)
    return size, digest.hexdigest()
