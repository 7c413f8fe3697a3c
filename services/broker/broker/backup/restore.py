"""Makes a fresh volume of a backup. Everything is checked before anything gets its name, the database last of all: what
was broken off leaves nothing that a broker would start with."""

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from broker.backup.archive import BLOB, DATABASE, END, MANIFEST, WEBHOOK_SECRET, End, Manifest, read
from broker.errors import StartError
from broker.store.connection import FileLock, connect_writer
from broker.store.migrate import migrate
from broker.store.ops.restored import adapt
from broker.store.transaction import Transaction

__all__ = ["Restored", "restore_backup"]

WORK = "restore.tmp"
SMALL = 1024 * 1024
"""Bytes of a member that is read as a whole."""
CHUNK = 1024 * 1024


@dataclass(slots=True)
class Restored:
    """What came back."""

    manifest: Manifest
    end: End
    released: int = 0
    """Attempts that went back to the queue."""


@dataclass(slots=True)
class _Unpacked:
    manifest: Manifest | None = None
    database_sha256: str = ""
    end: End | None = None
    blobs: dict[str, Path] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Contents that are not what their name says."""


def restore_backup(source: BinaryIO, database: Path, blobs: Path, result_ttl: float) -> Restored:
    """Read the tar and put everything in its place. StartError says what is wrong, and nothing was changed then."""
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.exists():
        raise StartError(f"{database} is there already: restore into an empty volume, or move it away first")
    lock = FileLock(database)
    lock.acquire()
    try:
        with _workshop(database.parent / WORK, blobs.parent / f"{blobs.name}.{WORK}") as (work, contents):
            found = _unpack(source, work, contents)
            manifest, end = _check(found)
            released = _make_fit(work / DATABASE, manifest, result_ttl)
            _put_in_place(work, found.blobs, database, blobs)
            return Restored(manifest, end, released)
    finally:
        lock.release()


@contextmanager
def _workshop(*folders: Path) -> Iterator[tuple[Path, ...]]:
    try:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
        yield folders
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: BinaryIO, work: Path, contents: Path) -> _Unpacked:
    """Write every member that a backup may have under a name of ours; anything else ends it."""
    found = _Unpacked()
    try:
        with tarfile.open(fileobj=source, mode="r|*") as tar:
            for member in tar:
                _take(tar, member, found, work, contents)
    except (tarfile.TarError, EOFError) as error:
        raise StartError(f"the backup cannot be read to its end: {error}") from None
    except OSError as error:
        raise StartError(f"the backup cannot be unpacked: {error}") from None
    return found


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, found: _Unpacked, work: Path, contents: Path) -> None:
    content = tar.extractfile(member) if member.isreg() else None
    blob = BLOB.fullmatch(member.name)
    if content is None or (found.manifest is None) != (member.name == MANIFEST):
        raise StartError(f"this is no backup of a broker: {member.name!r} has no place in one")
    if blob is not None:
        name = blob[2]
        found.blobs[name] = contents / name
        if _write(content, contents / name) != name:
            found.broken.add(name)
    elif member.name == DATABASE:
        found.database_sha256 = _write(content, work / DATABASE)
    elif member.name == WEBHOOK_SECRET and member.size <= SMALL:
        _write(content, work / WEBHOOK_SECRET)
    elif member.name == MANIFEST and member.size <= SMALL:
        found.manifest = read(Manifest, content.read())
    elif member.name == END:
        found.end = read(End, content.read())
    else:
        raise StartError(f"this is no backup of a broker: {member.name!r} has no place in one")


def _write(content: BinaryIO | object, path: Path) -> str:
    """Write a member's content durably; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        while data := content.read(CHUNK):  # type: ignore[union-attr]  # tarfile's reader
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _check(found: _Unpacked) -> tuple[Manifest, End]:
    manifest, end = found.manifest, found.end
    if manifest is None or end is None:
        raise StartError("the backup was cut short: its end is missing")
    if found.database_sha256 != manifest.database_sha256:
        raise StartError("the backup is damaged: its database is not what was backed up")
    for name in found.broken & set(end.damaged):  # it was damaged before; nothing of it is kept
        found.blobs.pop(name).unlink()
    if broken := found.broken - set(end.damaged):
        raise StartError(f"the backup is damaged: {len(broken)} contents are not what was backed up")
    if len(found.blobs) != end.blobs:
        raise StartError(f"the backup is damaged: it has {len(found.blobs)} contents of {end.blobs}")
    return manifest, end


def _make_fit(database: Path, manifest: Manifest, result_ttl: float) -> int:
    """Check the database, bring it to this program's schema, and adapt it to the time that has passed."""
    with closing(sqlite3.connect(database)) as connection:
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if damage != "ok":
        raise StartError(f"the backup's database is damaged: {damage}")
    migrate(database)
    with closing(connect_writer(database, durable=True)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        tx = Transaction(connection, random.Random())  # noqa: S311  # spreads retries, guards nothing
        released = adapt(tx, manifest.made_at, time.time(), result_ttl)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file, to be renamed as one
    return released


def _put_in_place(work: Path, contents: dict[str, Path], database: Path, blobs: Path) -> None:
    for name, path in contents.items():
        shelf = blobs / name[:2]
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(shelf / name)
    for shelf in {blobs / name[:2] for name in contents}:
        _sync(shelf)
    if contents:
        _sync(blobs)
    with contextlib.suppress(FileNotFoundError):
        (work / WEBHOOK_SECRET).replace(database.with_name(WEBHOOK_SECRET))
    (work / DATABASE).replace(database)
    _sync(database.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
