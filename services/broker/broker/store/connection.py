"""How the database file is opened, and kept from a second broker."""

import fcntl
import os
import sqlite3
from pathlib import Path

from broker.errors import StartError

__all__ = ["FileLock", "connect_reader", "connect_writer"]

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for a lock that a foreign process holds."""
CACHE_KIB = 64 * 1024
WAL_PAGES = 2000
"""SQLite folds the log back after so many pages of 4 KiB by itself, should the writer find no idle moment."""
WAL_LIMIT_BYTES = 64 * 1024 * 1024


class FileLock:
    """An exclusive lock beside the database, held for the life of the process: one broker per file."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._fd = -1

    def acquire(self) -> None:
        """StartError when another process has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StartError(
                f"{self.path} is locked: another broker (process {holder}) uses this database; "
                "stop it, or name another file in BROKER_DATABASE"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Let go; the file stays, because removing it would race with the next broker."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def connect_writer(database: Path, *, durable: bool) -> sqlite3.Connection:
    """The one connection that writes; transactions are begun and ended by hand."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def connect_reader(database: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB // 4}")
    connection.execute("PRAGMA query_only=ON")
    return connection
