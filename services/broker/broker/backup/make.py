"""Makes a backup of a live broker, from beside it: nothing is asked of its process, and no change waits for it.

The database is copied at one moment by SQLite's backup interface, in a read transaction: in WAL mode that holds up no
writer. A content may lose its last row, and be deleted, while this runs; so all contents get a second name (a hard
link) first, and what came after that one too, until every content that the copied database refers to is there.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from broker import __version__
from broker.backup.archive import DATABASE, END, MANIFEST, WEBHOOK_SECRET, End, Manifest, blob_name, to_json
from broker.errors import StartError
from broker.store.connection import BUSY_TIMEOUT_MS
from broker.store.load import stamp_of

__all__ = ["make_backup"]

WORK = "backup.tmp"
"""A folder for the copied database, beside the original; the links are in one of that name among the blobs."""
TRIES = 5
NICENESS = 10
"""The broker comes first: both have one processor between them in the bundle."""


def make_backup(database: Path, blobs: Path, out: BinaryIO) -> tuple[Manifest, End]:
    """Write the tar to `out`; the answer is its first and last member. StartError says what stands in the way."""
    if not database.is_file():
        raise StartError(f"{database} is not there: name the broker's database in BROKER_DATABASE")
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with _workshop(database.parent / WORK, blobs / WORK) as (work, links):
        copy = work / DATABASE
        room = shutil.disk_usage(work).free
        size = database.stat().st_size
        if room < size:
            raise StartError(f"a copy of the database takes {size} bytes, and {work.parent} has {room} left")
        names = _consistent(database, blobs, copy, links)
        manifest = _manifest(copy)
        end = _write(out, manifest, copy, database.with_name(WEBHOOK_SECRET), links, sorted(names))
    stamp_of(database).touch()
    return manifest, end


@contextmanager
def _workshop(*folders: Path) -> Iterator[tuple[Path, ...]]:
    """Empty folders that are gone afterwards, also those of a backup that was killed. One backup at a time."""
    lock = folders[0].with_suffix(".lock")
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError("another backup is under way") from None
        try:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
                if folder.parent.is_dir():
                    folder.mkdir(mode=0o700)
            yield folders
        finally:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _consistent(database: Path, blobs: Path, copy: Path, links: Path) -> set[str]:
    """Copy the database, with a link to every content that the copy refers to: their names."""
    missing: set[str] = set()
    for _ in range(TRIES):
        _link_all(blobs, links)
        _copy(database, copy)
        _link_all(blobs, links)
        names = _referenced(copy)
        before, missing = missing, {name for name in names if not (links / name).exists()}
        if not missing or missing == before:
            break  # twice the same: the disk has lost them long ago
    return names


def _copy(database: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(database, isolation_level=None)) as source,
            closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            source.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            source.execute("PRAGMA query_only=ON")
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM broker_state").fetchall()  # the transaction begins with its first read
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE").fetchall()
            damage = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StartError(f"{database} cannot be copied: {error}") from None
    if damage != "ok":
        raise StartError(f"{database} is damaged: {damage}")


def _link_all(blobs: Path, links: Path) -> None:
    if not blobs.is_dir():
        return
    links.mkdir(mode=0o700, exist_ok=True)  # the first upload of all may have come just now
    for shelf in blobs.iterdir():
        if len(shelf.name) != 2:
            continue
        for blob in os.scandir(shelf):
            # There already, or deleted this moment: the next look at the rows will say whether that matters.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(blob.path, links / blob.name)


def _referenced(copy: Path) -> set[str]:
    with closing(sqlite3.connect(copy)) as connection:
        return {row[0] for row in connection.execute("SELECT DISTINCT sha256 FROM job_files")}


def _manifest(copy: Path) -> Manifest:
    with closing(sqlite3.connect(copy)) as connection:
        jobs = connection.execute("SELECT count(*) FROM job_states").fetchone()[0]
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Manifest(__version__, time.time(), jobs, copy.stat().st_size, digest)


def _write(out: BinaryIO, manifest: Manifest, copy: Path, secret: Path, links: Path, names: list[str]) -> End:
    blobs = blob_bytes = 0
    damaged = []
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, MANIFEST, to_json(manifest))
        _add_file(tar, DATABASE, copy)
        if secret.is_file():
            _add(tar, WEBHOOK_SECRET, secret.read_bytes())
        for name in names:
            try:
                whole = _add_file(tar, blob_name(name), links / name) == name
            except FileNotFoundError:
                whole = False
            if whole:
                blobs += 1
                blob_bytes += (links / name).stat().st_size
            else:
                damaged.append(name)
        end = End(blobs, blob_bytes, damaged)
        _add(tar, END, to_json(end))
    out.flush()
    return end


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_member(name, len(content)), io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> str:
    """Add a file; the SHA-256 of what was added."""
    with path.open("rb") as file:
        hashing = _Hashing(file)
        tar.addfile(_member(name, os.fstat(file.fileno()).st_size), hashing)  # type: ignore[arg-type]  # it only reads
    return hashing.sha256.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    return member


class _Hashing:
    """Reads a file and hashes what it reads, so that it is read once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self.sha256.update(data)
        return data
