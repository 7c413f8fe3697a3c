"""Unpacking archives from strangers into memory, bounded in every direction.

Nothing is written while an archive is read: the result is a list of plain files and inner links, checked as a whole,
that goes into a job's own file system later.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self

from sandrun.names import UnsafeNameError, safe_path
from sandrun.sandbox.spec import MIB, InputFile

__all__ = ["ArchiveError", "UnpackLimits", "is_archive", "unpack"]

CHUNK_BYTES = 256 * 1024
MAX_GLOBAL_BYTES = 64 * 1024  # of pax headers for the whole archive; git writes 52
RATIO_FROM_BYTES = 8 * MIB  # small archives of very regular text reach any ratio

ZIP_END = struct.Struct("<4s4H2LH")  # end of central directory, APPNOTE.TXT 4.3.16
ZIP_END_SIGNATURE, ZIP64_LOCATOR_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
ZIP64_LOCATOR_BYTES = 20
ZIP_MAX_COMMENT = 65535
ZIP_DIRECTORY_BYTES_EACH = 512  # of one entry in the central directory: 46 bytes, the name, extras


class ArchiveError(Exception):
    """The archive cannot be accepted. The text says why."""


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """Bounds of one archive."""

    entries: int = 10_000
    total_bytes: int = 128 * MIB
    ratio: int = 250  #: unpacked to packed, beyond `RATIO_FROM_BYTES`


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked instead of stored."""
    return name.lower().endswith((".tar.gz", ".tgz", ".tar", ".zip"))


def unpack(name: str, data: bytes | IO[bytes], limits: UnpackLimits) -> list[InputFile]:
    """The files and inner links of an archive, `name` deciding its kind. Raises ArchiveError."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    budget = _Budget(limits, source.seek(0, io.SEEK_END))
    source.seek(0)
    try:
        if name.lower().endswith(".zip"):
            return list(_unpack_zip(source, budget))
        return list(_unpack_tar(source, budget, compressed=not name.lower().endswith(".tar")))
    except UnsafeNameError as error:
        raise ArchiveError(f"{name}: {error}") from None
    except ArchiveError as error:
        raise ArchiveError(f"{name}: {error}") from None
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, struct.error) as error:
        raise ArchiveError(f"{name}: not a readable archive ({error})") from None
    except (NotImplementedError, RuntimeError, RecursionError, OverflowError, IndexError, KeyError) as error:
        raise ArchiveError(f"{name}: not a kind of archive that we read ({error})") from None


class _Budget:
    """Counts what comes out of an archive."""

    def __init__(self, limits: UnpackLimits, packed_bytes: int) -> None:
        self.limits = limits
        self._packed_bytes = packed_bytes
        self._bytes = 0
        self._entries = 0

    def entry(self) -> None:
        self._entries += 1
        if self._entries > self.limits.entries:
            raise ArchiveError(f"more than {self.limits.entries} entries")

    def take(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self.limits.total_bytes:
            raise ArchiveError(f"unpacks to more than {self.limits.total_bytes // MIB} MiB")
        if self._bytes > RATIO_FROM_BYTES and self._bytes > self._packed_bytes * self.limits.ratio:
            raise ArchiveError(f"unpacks to more than {self.limits.ratio} times its size")


class _CountedReader(io.RawIOBase):
    """What a decompressor gives, counted before anybody keeps it."""

    def __init__(self, source: IO[bytes], budget: _Budget) -> None:
        self._source = source
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]
        data = self._source.read(min(len(view), CHUNK_BYTES))
        self._budget.take(len(data))
        view[: len(data)] = data
        return len(data)


def _unpack_tar(source: IO[bytes], budget: _Budget, *, compressed: bool) -> Iterator[InputFile]:
    if compressed:
        source = gzip.GzipFile(fileobj=source)  # type: ignore[assignment]
    # A stream: headers are counted like contents, so neither can be a bomb.
    stream = io.BufferedReader(_CountedReader(source, budget), CHUNK_BYTES)
    kind = _headers_within(MAX_GLOBAL_BYTES)
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=2, errors="surrogateescape", tarinfo=kind) as archive:
        for member in archive:
            budget.entry()
            if member.isdir():
                continue
            path = safe_path(member.name)
            if member.issym():
                yield InputFile(path, b"", link=_inner_link(path, member.linkname))
            elif member.isreg() and not member.issparse():
                content = archive.extractfile(member)
                assert content is not None
                yield InputFile(path, content.read(), executable=bool(member.mode & 0o100))
            else:
                raise ArchiveError(
                    f"{path!r} is a hard link, a device, a FIFO or sparse; only plain files are accepted"
                )


def _headers_within(most_bytes: int) -> type[tarfile.TarInfo]:
    """What headers are read into. Refuses at sight what the library would gather without bound: maps of sparse files,
    and pax headers for the whole archive, of which ten bytes become a hundred and are kept."""
    taken = 0

    class Bounded(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            nonlocal taken
            entry = super().frombuf(buf, encoding, errors)
            taken += entry.size if entry.type == tarfile.XGLTYPE else 0
            if entry.type == tarfile.GNUTYPE_SPARSE:
                raise ArchiveError("has sparse files; only plain files are accepted")
            if taken > most_bytes:
                raise ArchiveError(f"more than {most_bytes} bytes of headers for the whole archive")
            return entry

    return Bounded


def _unpack_zip(source: IO[bytes], budget: _Budget) -> Iterator[InputFile]:
    _check_zip_directory(source, budget.limits)
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            budget.entry()
            if info.is_dir():
                continue
            path = safe_path(info.filename)
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if info.flag_bits & 0x1:
                raise ArchiveError(f"{path!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(f"{path!r} is compressed by another method than deflate")
            if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise ArchiveError(f"{path!r} is a device or a FIFO; only plain files are accepted")
            content = _read_zip_member(archive, info, budget)
            if kind == stat.S_IFLNK:
                yield InputFile(path, b"", link=_inner_link(path, content.decode("utf-8", "surrogateescape")))
            else:
                yield InputFile(path, content, executable=bool(mode & 0o100))


def _read_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> bytes:
    parts = []
    with archive.open(info) as content:
        while part := content.read(CHUNK_BYTES):
            budget.take(len(part))
            parts.append(part)
    content_bytes = b"".join(parts)
    if len(content_bytes) != info.file_size:
        raise ArchiveError(
            f"{info.filename!r} has {len(content_bytes)} bytes, not the {info.file_size} that are claimed"
        )
    return content_bytes


def _check_zip_directory(source: IO[bytes], limits: UnpackLimits) -> None:
    """Bound the directory before zipfile reads it all into objects, finding it as zipfile does."""
    size = source.seek(0, io.SEEK_END)
    source.seek(max(0, size - ZIP_MAX_COMMENT - ZIP_END.size - ZIP64_LOCATOR_BYTES))
    data = source.read()
    tail_start = max(0, len(data) - ZIP_MAX_COMMENT - ZIP_END.size)
    if data[-ZIP_END.size :].startswith(ZIP_END_SIGNATURE):
        start = len(data) - ZIP_END.size
    else:
        start = data.rfind(ZIP_END_SIGNATURE, tail_start)
    if start < 0 or start + ZIP_END.size > len(data):
        raise ArchiveError("not a zip file")
    if data[max(0, start - ZIP64_LOCATOR_BYTES) :].startswith(ZIP64_LOCATOR_SIGNATURE):
        raise ArchiveError("is a zip64 file, which only archives beyond our limits need")
    directory_bytes = ZIP_END.unpack_from(data, start)[5]
    if directory_bytes > limits.entries * ZIP_DIRECTORY_BYTES_EACH:
        raise ArchiveError(f"more than {limits.entries} entries")


def _inner_link(path: str, target: str) -> str:
    """The target of a symbolic link, if it stays below the upload's directory."""
    if target.startswith("/") or "\0" in target or not target:
        raise ArchiveError(f"{path!r} links out of its directory")
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if reached == ".." or reached.startswith("../"):
        raise ArchiveError(f"{path!r} links out of its directory")
    return target
