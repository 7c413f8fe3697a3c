"""The node's id and secret across restarts, and the lock that keeps two agents from sharing one state folder."""

import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.logs import EventLog

LOG = EventLog("agent.identity")

LONGEST = 1 << 16  # bytes of the file
LONGEST_ID = 200
_WORD = re.compile(r"[!-~]{1,500}")


@dataclass(frozen=True)
class Identity:
    """Who this node is to one broker."""

    broker_url: str
    node_id: str
    secret: str


class StateFolder:
    """The folder for what must outlive the process. `path` is None when there is none to be had: memory must do."""

    def __init__(self, path: Path | None) -> None:
        self._lock: int | None = None
        self.path = path if path is not None and self._taken(path) else None

    def _taken(self, path: Path) -> bool:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            LOG.warning("state_dir_unusable", path=str(path), error=error.strerror, note="identity kept in memory")
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            LOG.warning("state_dir_in_use", path=str(path), note="another agent has it; identity kept in memory")
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Let another agent have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class IdentityFile:
    """Remembers one identity, in the state folder when there is one."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "identity.json" if folder else None
        self._known: Identity | None = None

    def load(self, broker_url: str) -> Identity | None:
        """The identity for this broker: a secret is never shown to another one."""
        if self._known is None and self._path is not None:
            self._known = _read(self._path)
        known = self._known
        return known if known is not None and known.broker_url == broker_url else None

    def save(self, identity: Identity) -> None:
        """Remember; failing to write costs the memory across restarts and nothing else."""
        if identity == self._known:
            return
        self._known = identity
        if self._path is not None:
            try:
                write_durably(self._path, json.dumps(asdict(identity)).encode())
            except OSError as error:
                LOG.warning("identity_not_saved", error=error.strerror)

    def forget(self) -> None:
        """Become a new node at the next registration."""
        self._known = None
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                LOG.warning("identity_not_removed", error=error.strerror)


def _read(path: Path) -> Identity | None:
    try:
        # Not one that waits for somebody to write, should it be a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = json.loads(file.read(LONGEST) or b"")
        for value in found.values():
            # A broker refuses any other as a mistake in the call, each time, and the node would never be one.
            if not isinstance(value, str) or not _WORD.fullmatch(value):
                raise ValueError("not what a broker gave")
        if len(str(found.get("node_id"))) > LONGEST_ID:
            raise ValueError("a longer id than a broker takes")
        return Identity(**found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        LOG.warning("identity_unreadable", error=type(error).__name__, note="registering as a new node")
        return None


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by `data` so that a crash leaves the old or the new file, for this user's eyes only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
