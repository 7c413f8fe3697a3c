"""Looking into an upload for what a broker must know of it: the names of its files, and a `job.json` among them.

Nothing is unpacked here: the sandbox does that, on a node. Archives come from strangers, so names, bytes that come out
of the decompressor, and time are bounded; what is beyond is refused.
"""

import gzip
import io
import posixpath
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO

from broker.errors import InvalidFieldError

__all__ = ["ARCHIVES", "Contents", "is_archive", "peek"]

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""What sandrun unpacks."""
MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_SECONDS = 20.0
MAX_JOB_JSON_BYTES = 1024 * 1024
MAX_ZIP_DIRECTORY_BYTES = 8 * 1024 * 1024
JOB_JSON = "job.json"
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


@dataclass(slots=True)
class Contents:
    """Names of files, relative to the upload, and the text of `job.json` if there is one."""

    names: set[str] = field(default_factory=set)
    job_json: bytes | None = None

    def add(self, name: str) -> None:
        """Note a file's name. InvalidFieldError when there are too many."""
        self.names.add(posixpath.normpath(name))
        if len(self.names) > MAX_ENTRIES:
            raise InvalidFieldError("files", f"an upload has at most {MAX_ENTRIES} files.")


def is_archive(name: str) -> bool:
    """Whether a part of this name is unpacked rather than kept as it is."""
    return name.lower().endswith(ARCHIVES)


def peek(name: str, content: IO[bytes], into: Contents) -> None:
    """Add what an archive holds. InvalidFieldError when it cannot be read or is beyond the bounds."""
    try:
        if name.lower().endswith(".zip"):
            _peek_zip(content, into)
        else:
            _peek_tar(name, content, into)
    except _BROKEN as error:
        raise InvalidFieldError("files", f"{name[:100]!r} is not a sound archive: {error}.") from None


class _Bounded(io.RawIOBase):
    """What comes out of a decompressor, counted."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._left = MAX_UNPACKED_BYTES
        self._until = time.monotonic() + MAX_SECONDS

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes. InvalidFieldError beyond the bounds."""
        if self._left <= 0 or time.monotonic() > self._until:
            most = MAX_UNPACKED_BYTES // (1024 * 1024)
            raise InvalidFieldError(
                "files",
                f"the archive takes too long to look through, or has more than {most} MiB: "
                "send a manifest that names entrypoint and interpreter, and nothing is looked for.",
            )
        data = self._source.read(min(size, 256 * 1024) if size >= 0 else 256 * 1024)
        self._left -= len(data)
        return data


def _peek_tar(name: str, content: IO[bytes], into: Contents) -> None:
    source: IO[bytes] = content
    if not name.lower().endswith(".tar"):
        source = gzip.GzipFile(fileobj=content)  # type: ignore[assignment]
    bounded = _Bounded(source)
    with tarfile.open(fileobj=bounded, mode="r|") as archive:
        for entry in archive:
            if not entry.isreg():
                continue
            into.add(entry.name)
            if posixpath.normpath(entry.name) == JOB_JSON and into.job_json is None:
                read = archive.extractfile(entry)
                into.job_json = _small(entry.size, read.read(MAX_JOB_JSON_BYTES + 1) if read else b"")


def _peek_zip(content: IO[bytes], into: Contents) -> None:
    size = content.seek(0, io.SEEK_END)
    tail = min(size, 22 + 65_535)
    content.seek(size - tail)
    end = content.read(tail)
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) - at < 22:
        raise InvalidFieldError("files", "the zip archive has no end: it was cut.")
    if int.from_bytes(end[at + 12 : at + 16], "little") > MAX_ZIP_DIRECTORY_BYTES:
        raise InvalidFieldError("files", f"a zip archive has at most {MAX_ENTRIES} files.")
    with zipfile.ZipFile(content) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            into.add(info.filename)
            if posixpath.normpath(info.filename) == JOB_JSON and into.job_json is None:
                with archive.open(info) as read:
                    into.job_json = _small(info.file_size, read.read(MAX_JOB_JSON_BYTES + 1))


def _small(size: int, data: bytes) -> bytes:
    if size > MAX_JOB_JSON_BYTES or len(data) > MAX_JOB_JSON_BYTES:
        raise InvalidFieldError("manifest", f"{JOB_JSON} has at most {MAX_JOB_JSON_BYTES} bytes.")
    return data
