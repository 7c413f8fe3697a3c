"""Looking into an upload for what a broker must know of it: the names of its files, and a `job.json` among them.

Nothing is unpacked here: the sandbox does that, on a node. Archives come from strangers, so entries, what headers
claim, bytes that come out of the decompressor, and time are bounded; what is beyond is refused. A header may claim to
be as large as a content, and the libraries read headers whole: 400 KB of archive took 1.3 GiB.
"""

import gzip
import io
import posixpath
import struct
import tarfile
import time
import zipfile
from dataclasses import dataclass, field
from typing import IO, Self

from broker.errors import BrokerError, InvalidFieldError

__all__ = ["ARCHIVES", "Contents", "is_archive", "peek"]

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
"""What sandrun unpacks."""
MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_SECONDS = 10.0
MAX_JOB_JSON_BYTES = 1024 * 1024
JOB_JSON = "job.json"

MAX_HEADER_BYTES = 256 * 1024
"""Of one header that extends another: a long name, or what pax says of a file. One record of 10 bytes in it becomes
150 in memory."""
MAX_HEADERS_BYTES = 16 * 1024 * 1024
"""Of all of these."""
MAX_GLOBAL_BYTES = 64 * 1024
"""Of pax headers for the whole archive, which are kept to its end."""
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)

_ZIP_END = struct.Struct("<4s4H2LH")
"""End of central directory, APPNOTE.TXT 4.3.16."""
_ZIP_ENTRY = struct.Struct("<4s24x3H12x")
"""Central directory header, 4.3.12: signature, and the lengths of name, extra field and comment."""
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAX_ZIP_COMMENT = 65_535
_TOO_MANY = f"an upload has at most {MAX_ENTRIES} files and folders."


@dataclass(slots=True)
class Contents:
    """Names of files, relative to the upload, and the text of `job.json` if there is one."""

    names: set[str] = field(default_factory=set)
    job_json: bytes | None = None

    def add(self, name: str) -> None:
        """Note a file's name. InvalidFieldError when there are too many."""
        self.names.add(posixpath.normpath(name))
        if len(self.names) > MAX_ENTRIES:
            raise InvalidFieldError("files", _TOO_MANY)


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
    except BrokerError:
        raise
    except Exception as error:
        # The libraries raise more kinds than they name: RuntimeError for an encrypted file, RecursionError, LZMAError.
        raise InvalidFieldError("files", f"{name[:100]!r} is not a sound archive: {str(error)[:200]}.") from None


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
    with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_bounded_entries()) as archive:
        for entry in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all that it has seen
            if not entry.isreg():
                continue
            into.add(entry.name)
            if posixpath.normpath(entry.name) == JOB_JSON and into.job_json is None:
                read = archive.extractfile(entry)
                into.job_json = _small(entry.size, read.read(MAX_JOB_JSON_BYTES + 1) if read else b"")


def _bounded_entries() -> type[tarfile.TarInfo]:
    """What an archive's headers are read into: refuses those that are too many or claim too much, and sparse files,
    whose maps have no bound and which sandrun refuses too."""
    entries = extensions = globals_ = 0

    class Bounded(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            nonlocal entries, extensions, globals_
            entry = super().frombuf(buf, encoding, errors)
            extends = entry.type in _EXTENSIONS or entry.type == tarfile.XGLTYPE
            extensions += entry.size if entry.type in _EXTENSIONS else 0
            globals_ += entry.size if entry.type == tarfile.XGLTYPE else 0
            entries += not extends
            if entries > MAX_ENTRIES:
                raise InvalidFieldError("files", _TOO_MANY)
            if entry.type == tarfile.GNUTYPE_SPARSE:
                raise tarfile.ReadError("it has sparse files")
            if extends and entry.size > MAX_HEADER_BYTES:
                raise tarfile.ReadError(f"a header in it has more than {MAX_HEADER_BYTES} bytes")
            if extensions > MAX_HEADERS_BYTES or globals_ > MAX_GLOBAL_BYTES:
                raise tarfile.ReadError("its headers are too large")
            return entry

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise tarfile.ReadError("it has sparse files")

    return Bounded


def _peek_zip(content: IO[bytes], into: Contents) -> None:
    _check_directory(content)
    with zipfile.ZipFile(content) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            into.add(info.filename)
            if posixpath.normpath(info.filename) == JOB_JSON and into.job_json is None:
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile("it is compressed by another method than deflate")
                with archive.open(info) as read:
                    into.job_json = _small(info.file_size, read.read(MAX_JOB_JSON_BYTES + 1))


def _check_directory(content: IO[bytes]) -> None:
    """Count the entries before zipfile makes objects of them, in the place where zipfile looks for them."""
    size = content.seek(0, io.SEEK_END)
    tail_at = max(0, size - _MAX_ZIP_COMMENT - _ZIP_END.size - _ZIP64_LOCATOR_BYTES)
    content.seek(tail_at)
    tail = content.read()
    at = len(tail) - _ZIP_END.size
    if not tail.startswith(b"PK\x05\x06", max(0, at)):
        at = tail.rfind(b"PK\x05\x06", max(0, len(tail) - _MAX_ZIP_COMMENT - _ZIP_END.size))
    if at < 0 or len(tail) - at < _ZIP_END.size:
        raise zipfile.BadZipFile("it has no end: it was cut")
    if tail.startswith(_ZIP64_LOCATOR, max(0, at - _ZIP64_LOCATOR_BYTES)):
        raise zipfile.BadZipFile("it is in the zip64 form, which only archives beyond the limits need")
    length = _ZIP_END.unpack_from(tail, at)[5]
    content.seek(max(0, tail_at + at - length))
    place = 0
    for _ in range(MAX_ENTRIES + 1):
        content.seek(max(0, tail_at + at - length) + place)
        if place >= length or len(head := content.read(_ZIP_ENTRY.size)) < _ZIP_ENTRY.size:
            return
        place += _ZIP_ENTRY.size + sum(_ZIP_ENTRY.unpack(head)[1:])
    raise InvalidFieldError("files", _TOO_MANY)


def _small(size: int, data: bytes) -> bytes:
    if size > MAX_JOB_JSON_BYTES or len(data) > MAX_JOB_JSON_BYTES:
        raise InvalidFieldError("manifest", f"{JOB_JSON} has at most {MAX_JOB_JSON_BYTES} bytes.")
    return data
