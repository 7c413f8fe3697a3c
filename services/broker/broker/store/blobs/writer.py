"""Writing one blob: bytes come in pieces and are hashed on their way to a temporary file."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from broker.errors import BrokerError, StorageFullError
from broker.store.blobs.folder import BlobFolder

__all__ = ["Blob", "BlobWriter"]

FLUSH_BYTES = 256 * 1024
"""Bytes that are gathered before a thread writes them: small beside the memory, large beside a system call."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored content."""

    sha256: str
    size: int


class BlobWriter:
    """Write, then `finish`; leaving the `async with` block without it removes everything."""

    def __init__(self, folder: BlobFolder, limit: int, too_large: BrokerError) -> None:
        self._folder = folder
        self._limit = limit
        self._too_large = too_large
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._fd = -1
        self._temporary: Path | None = None
        self._published = False
        self._reserved = 0
        self.size = 0
        """Bytes taken so far."""

    async def __aenter__(self) -> "BlobWriter":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.abandon()

    def gather(self, data: bytes) -> bool:
        """Take bytes without writing them yet; True when it is time to `flush`. The too_large error."""
        self.size += len(data)
        if self.size > self._limit:
            raise self._too_large
        self._gathered += data
        return len(self._gathered) >= FLUSH_BYTES

    async def write(self, data: bytes) -> None:
        """Take bytes. The too_large error, StorageFullError, StoreBrokenError."""
        if self.gather(data):
            await self.flush()

    async def flush(self) -> None:
        """Let a thread hash and write what was gathered. StorageFullError, StoreBrokenError."""
        data, self._gathered = self._gathered, bytearray()
        self._folder.reserve(len(data))
        self._reserved += len(data)
        await self._folder.in_thread(lambda: self._store(data))

    async def finish(self) -> Blob:
        """Give the content its name, durably, and pin it for the caller. StorageFullError, StoreBrokenError."""
        await self.flush()
        blob = Blob(self._hash.hexdigest(), self.size)
        self._folder.hold(blob.sha256)
        try:
            if self._folder.size(blob.sha256) != blob.size:  # not there, or there without its bytes: a power cut
                await self._name(blob)
            await self.abandon()
        except BaseException:
            self._folder.unpin(blob.sha256)
            raise
        return blob

    async def _name(self, blob: Blob) -> None:
        try:
            await self._folder.in_thread(lambda: self._publish(blob.sha256))
        finally:
            if self._published:
                self._folder.arrived(blob.sha256, blob.size)

    async def abandon(self) -> None:
        """Let go of the file, and remove what did not get a name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._gathered.clear()
        self._folder.unreserve(self._reserved)
        self._reserved = 0
        temporary, self._temporary = self._temporary, None
        if temporary is not None and not self._published:
            await self._folder.in_thread(lambda: temporary.unlink(missing_ok=True))

    # ---- below: in a thread

    def _store(self, data: bytearray) -> None:
        if self._fd < 0:
            self._fd, name = tempfile.mkstemp(dir=self._folder.incoming)
            self._temporary = Path(name)
        state = os.statvfs(self._folder.incoming)
        if state.f_bavail * state.f_frsize < self._folder.min_free_bytes + len(data):
            raise StorageFullError("The broker's disk is nearly full: try again later.")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _publish(self, name: str) -> None:
        assert self._temporary is not None
        place = self._folder.place(name)
        if self._folder.durable:
            os.fsync(self._fd)
        if not place.parent.is_dir():
            place.parent.mkdir(exist_ok=True)
            self._sync(place.parent.parent)
        self._temporary.rename(place)
        self._published = True
        self._sync(place.parent)

    def _sync(self, directory: Path) -> None:
        if not self._folder.durable:
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
