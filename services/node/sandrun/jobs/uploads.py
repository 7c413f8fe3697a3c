"""From uploaded parts to the files of a job: archives unpacked, names checked, conflicts refused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from sandrun.archive import ArchiveError, UnpackLimits, is_archive, unpack
from sandrun.names import UnsafeNameError, safe_path
from sandrun.sandbox.spec import InputFile

__all__ = ["UploadError", "UploadedPart", "embedded_manifest", "job_files"]

MANIFEST_FILE = "job.json"


class UploadError(Exception):
    """The upload cannot be accepted. The text says why."""


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """One `files` part of a request: in memory, or, for a large archive, a spooled file that its owner closes."""

    filename: str
    content: bytes | IO[bytes]

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.seek(0, os.SEEK_END)


def job_files(parts: Iterable[UploadedPart], limits: UnpackLimits) -> list[InputFile]:
    """Every file that the job starts with. Raises UploadError. CPU-bound: not for the event loop."""
    files: list[InputFile] = []
    try:
        for part in parts:
            if is_archive(part.filename):
                files += unpack(part.filename, part.content, limits)
            else:
                data = part.content if isinstance(part.content, bytes) else part.content.read()
                files.append(InputFile(safe_path(part.filename), data))
    except (ArchiveError, UnsafeNameError) as error:
        raise UploadError(str(error)) from None
    if not files:
        raise UploadError("no files uploaded: send at least one part named 'files'")
    _check_paths(files, limits)
    return files


def embedded_manifest(files: Sequence[InputFile]) -> str | None:
    """The manifest inside the upload, for clients that send none beside it. Raises UploadError when it is no text."""
    data = next((file.data for file in files if file.path == MANIFEST_FILE and file.link is None), None)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UploadError(f"{MANIFEST_FILE}: not valid UTF-8") from None


def _check_paths(files: Sequence[InputFile], limits: UnpackLimits) -> None:
    """No name twice, and no file or link where another file needs a directory."""
    if len(files) > limits.entries:
        raise UploadError(f"at most {limits.entries} files, not {len(files)}")
    if sum(len(file.data) for file in files) > limits.total_bytes:
        raise UploadError(f"at most {limits.total_bytes >> 20} MiB of files, unpacked")
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise UploadError("the same file name twice in the upload")
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in paths:
                raise UploadError(f"{parent!r} is both a file and a directory in the upload")
            parent = parent.rpartition("/")[0]
