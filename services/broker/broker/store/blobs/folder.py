"""The folder of blobs: what is there, what is pinned, what may go.

A blob is a file named by its SHA-256. It gets its name by a rename after its bytes are on the disk, so that a name
always stands for the whole content. Rows refer to blobs; a blob is deleted only when no row does and nobody has it
pinned. The order on both sides makes every crash harmless: the blob is durable before the row that refers to it, and
the row is gone before the blob. What a crash leaves is a temporary file (removed at the next start) or a blob without a
row (every blob is a suspect at the next start).

The event loop owns the index and the pins; files are touched by a few threads only.
"""

import asyncio
import errno
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from broker.errors import StartError, StorageFullError, StoreBrokenError
from broker.logs import EventLog
from broker.store.connection import FileLock

__all__ = ["BlobFolder", "OpenBlob"]

log = EventLog(__name__)

T = TypeVar("T")

THREADS = 4
"""Disk operations at a time: enough to keep a disk busy, few enough to leave the processor to the event loop."""
SWEEP_LIMIT = 200
"""Suspects that one sweep looks at."""
NAME = re.compile(r"[0-9a-f]{64}")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OpenBlob:
    """A blob open for reading; its content stays readable when the file is deleted meanwhile. Close it."""

    def __init__(self, folder: "BlobFolder", fd: int, size: int) -> None:
        self._folder = folder
        self._fd = fd
        self.size = size

    async def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`; StoreBrokenError when the disk gives fewer."""
        data = await self._folder.in_thread(lambda: os.pread(self._fd, count, offset))
        if len(data) != count:
            raise StoreBrokenError("The stored content cannot be read.")
        return data

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class BlobFolder:
    """All blobs of one broker. Nothing is created before the first blob is written."""

    def __init__(self, folder: Path, *, max_bytes: int, min_free_bytes: int, durable: bool = True) -> None:
        self.path = folder
        self.incoming = folder / "incoming"
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self.durable = durable
        self._sizes: dict[str, int] = {}
        self._pins: Counter[str] = Counter()
        self._suspects: set[str] = set()
        self._condemned: set[str] = set()
        self._stored_bytes = 0
        self._arriving_bytes = 0
        self._lock = FileLock(folder / "blobs")
        self._prepared = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    # ---- life

    async def open(self) -> None:
        """Find what is there and remove what a crash left half written. StartError when the folder cannot be used."""
        if self.path.is_dir():
            self._prepare()
            self._sizes = await self.in_thread(self._scan)
            self._stored_bytes = sum(self._sizes.values())
            self._suspects = set(self._sizes)

    def close(self) -> None:
        """Finish what the threads are at."""
        self._threads.shutdown()
        self._lock.release()

    def _prepare(self) -> None:
        if self._prepared:
            return
        try:
            self.incoming.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise StartError(f"BROKER_BLOBS={self.path} cannot be used: {error}") from None
        except StartError:
            raise StartError(f"BROKER_BLOBS={self.path} is another broker's: stop it, or name another folder") from None
        self._prepared = True

    def _scan(self) -> dict[str, int]:
        for left in self.incoming.iterdir():
            left.unlink()
        found = {}
        for shelf in self.path.iterdir():
            if len(shelf.name) == 2 and shelf.is_dir():
                found.update({b.name: b.stat().st_size for b in os.scandir(shelf) if NAME.fullmatch(b.name)})
        return found

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run file operations away from the event loop, to their end also when the caller is cancelled: it may close
        the file. StorageFullError, StoreBrokenError."""
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait((done,))
            if not done.cancelled():
                done.exception()  # seen: nobody is left to be told
            raise
        except OSError as error:
            raise _storage_error(error) from error

    # ---- what is there

    @property
    def stored_bytes(self) -> int:
        """The size of all blobs."""
        return self._stored_bytes

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, name: str) -> int | None:
        """A blob's size; None when it is not there."""
        return self._sizes.get(name)

    def place(self, name: str) -> Path:
        """Where the blob of that name lies."""
        return self.path / name[:2] / name

    async def read(self, name: str) -> OpenBlob:
        """Open a blob. StoreBrokenError when it is not there whole: the disk lost it."""
        size, place = self._sizes.get(name), self.place(name)
        if size is None:
            raise StoreBrokenError("The content is not there any more.")
        fd = await self.in_thread(lambda: os.open(place, os.O_RDONLY | os.O_CLOEXEC))
        blob = OpenBlob(self, fd, size)
        if os.fstat(fd).st_size != size:
            blob.close()
            log.error("blob is damaged", blob=name, bytes=size)
            raise StoreBrokenError("The stored content is damaged.")
        return blob

    # ---- coming

    def reserve(self, count: int) -> None:
        """Count bytes that are about to be written. StorageFullError when there is no room."""
        if self._stored_bytes + self._arriving_bytes + count > self.max_bytes:
            raise StorageFullError
        try:
            self._prepare()
        except StartError as error:
            raise StoreBrokenError(error.message) from None
        self._arriving_bytes += count

    def unreserve(self, count: int) -> None:
        """They were stored, or given up."""
        self._arriving_bytes -= count

    def arrived(self, name: str, size: int) -> None:
        """A blob, held by whoever wrote it, got its name; what was there was the same, or damaged."""
        self._stored_bytes += size - self._sizes.get(name, 0)
        self._sizes[name] = size

    # ---- pins

    def pin(self, name: str) -> bool:
        """Keep a blob until `unpin`; False when it is not there."""
        if name not in self._sizes:
            return False
        self.hold(name)
        return True

    def hold(self, name: str) -> None:
        """Pin a blob that may be on its way: a sweep must not take away the file that gets the name meanwhile."""
        self._pins[name] += 1
        self._condemned.discard(name)

    def unpin(self, name: str) -> None:
        """Take one pin back. If no row refers to the blob, the next sweep removes it."""
        self._pins[name] -= 1
        if not self._pins[name]:
            del self._pins[name]
            self._suspects.add(name)

    def suspect(self, names: Iterable[str]) -> None:
        """Rows that referred to these blobs are gone."""
        self._suspects.update(names)

    # ---- going

    @property
    def has_suspects(self) -> bool:
        """Whether a sweep may find something."""
        return bool(self._suspects)

    async def sweep(self, referenced: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """Delete suspects that no row refers to and nobody pinned; the answer is how many bytes that freed.

        A suspect is condemned first, then the rows are asked, then it is deleted if it is condemned still: a pin
        lifts the sentence, and whoever had it pinned before has committed its row before letting go.
        """
        batch = [name for name, _ in zip(list(self._suspects), range(SWEEP_LIMIT), strict=False)]
        self._suspects.difference_update(batch)
        self._condemned = {name for name in batch if name in self._sizes and not self._pins[name]}
        kept = await referenced(sorted(self._condemned)) if self._condemned else set()
        doomed = sorted(self._condemned - kept)
        self._condemned = set()
        freed = 0
        for name in doomed:
            freed += self._remove_from_index(name)
        if doomed:
            await self.in_thread(lambda: self._delete(doomed))
        return freed

    def _remove_from_index(self, name: str) -> int:
        """Rename the file out of its place, at once and on the event loop: a new blob of that name may come while the
        old file is being deleted."""
        size = self._sizes.pop(name)
        self._stored_bytes -= size
        try:
            self.place(name).rename(self.incoming / f"{name}.gone")
        except OSError as error:
            log.warning("blob could not be removed", blob=name, error=error)
        return size

    def _delete(self, names: list[str]) -> None:
        for name in names:
            (self.incoming / f"{name}.gone").unlink(missing_ok=True)


def _storage_error(error: OSError) -> StorageFullError | StoreBrokenError:
    """What a failed file operation means to a caller."""
    log.warning("the blob folder refuses", error=error)
    if error.errno in FULL:
        return StorageFullError("The broker's disk is full: try again later.")
    return StoreBrokenError("The broker's storage failed; nothing was kept. Try again later.")
