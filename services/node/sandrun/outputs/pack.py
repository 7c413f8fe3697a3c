"""A job's files as one tar.gz, made while it is sent: nothing is stored twice."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping

from sandrun.outputs.collected import CollectedFile

__all__ = ["tar_gz"]

CHUNK_BYTES = 256 * 1024
GZIP = 31  # zlib's window bits for a gzip header with the largest window
FAST = 1
FILE_MODE = 0o644


def tar_gz(files: Mapping[str, CollectedFile], modified: float) -> Iterator[bytes]:
    """The archive in pieces, paths sorted. Owners, modes and times are the same for all: the content is what counts.

    Raises OSError where a file cannot be read any more.
    """
    compressor = zlib.compressobj(FAST, wbits=GZIP)
    for path in sorted(files):
        file = files[path]
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.mtime = file.size, FILE_MODE, int(modified)
        yield compressor.compress(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        with file.stored.open("rb") as content:
            while data := content.read(CHUNK_BYTES):
                yield compressor.compress(data)
        yield compressor.compress(bytes(-file.size % tarfile.BLOCKSIZE))
    yield compressor.compress(bytes(2 * tarfile.BLOCKSIZE))
    yield compressor.flush()
