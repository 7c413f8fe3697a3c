"""Results on disk until the broker has acknowledged them: one file each, written durably, read back after a restart."""

import hashlib
import json
import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.identity import write_durably
from agent.logs import EventLog
from agent.model import Key

LOG = EventLog("agent.spool")

# The claimer stops long before (outbox.FULL_*); this only bounds the disk should something else fill the folder.
MAX_FILES = 1024
MAX_FILE_BYTES = 64 << 20  # more than a broker takes; what is larger is none of ours
MAX_AGE = 3600.0  # seconds; the broker keeps results no longer by default (RESULT_TTL)
_WORD = re.compile(r"[!-~]{1,500}")
_OURS = re.compile(r"[0-9a-f]{32}\.-?[0-9]+\.json(\.new)?")


@dataclass(frozen=True)
class Entry:
    """One result to deliver, with the session in whose name it counts. `completion` as POST /complete takes it."""

    who: dict[str, Any]
    completion: dict[str, Any]
    sandrun_id: str = ""
    """Of the run, when it left files: there they are until the broker has acknowledged the result."""
    since: float = field(default_factory=time.time, compare=False)
    """When this process had it: seconds since 1970."""

    @property
    def key(self) -> Key:
        """The attempt it is about."""
        return Key(self.completion["job_id"], self.completion["fence"])

    @property
    def size(self) -> int:
        """About how many characters it has to carry."""
        carried = (self.completion.get(name) or "" for name in ("output", "error", "output_base64", "error_base64"))
        lists = (self.completion.get(name) or () for name in ("artifacts", "artifacts_dropped"))
        return 500 + sum(map(len, carried)) + 200 * sum(map(len, lists))


class Spool:
    """A folder of results; without a folder nothing is kept. Calls for one key must not overlap.

    Each file names the broker that it is for: another one is shown neither a session nor a result.
    """

    def __init__(self, folder: Path | None, broker_url: str = "") -> None:
        self._broker_url = broker_url
        self._folder = folder / "spool" if folder else None
        if self._folder is not None:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                LOG.warning("spool_unusable", error=error.strerror, note="results are kept in memory only")
                self._folder = None

    @property
    def usable(self) -> bool:
        """Whether there is a folder."""
        return self._folder is not None

    def keep(self, entry: Entry) -> bool:
        """Write it durably; False when there is no room or no folder (it then lives in memory only)."""
        if self._folder is None:
            return False
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)  # somebody may have cleaned up
            if sum(1 for path in self._folder.iterdir() if _OURS.fullmatch(path.name)) >= MAX_FILES:
                LOG.error("spool_full", files=MAX_FILES)
                return False
            value = {"broker": self._broker_url, "who": entry.who, "completion": entry.completion}
            value |= {"sandrun_id": entry.sandrun_id} if entry.sandrun_id else {}
            data = json.dumps(value).encode()
            write_durably(self._folder / _name(entry.key), data)
        except OSError as error:
            LOG.error("spool_not_written", **entry.key.facts, error=error.strerror)
            return False
        return True

    def remove(self, key: Key) -> None:
        """It needs no delivery any more."""
        if self._folder is not None:
            try:
                (self._folder / _name(key)).unlink(missing_ok=True)
            except OSError as error:
                LOG.error("spool_not_removed", **key.facts, error=error.strerror)

    def load(self) -> list[Entry]:
        """What an earlier process left for this broker, oldest first.

        Files of ours that cannot be read, or that are for another broker and old, are removed; anything else is left.
        """
        entries = []
        for path in self._found():
            try:
                entry, broker_url = _read(path)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                LOG.error("spool_unreadable", file=path.name, error=f"{type(error).__name__}: {error}"[:200])
                self._discard(path)
                continue
            if broker_url in ("", self._broker_url):
                entries.append(entry)
            elif time.time() - path.lstat().st_mtime > MAX_AGE:
                LOG.warning("result_dropped", **entry.key.facts, reason="for another broker, and too old")
                self._discard(path)
        return entries

    def _found(self) -> list[Path]:
        """Our files in the folder, oldest first, at most MAX_FILES: what else lies there must not crowd them out."""
        found: list[tuple[float, Path]] = []
        strangers: list[str] = []
        try:
            for path in self._folder.iterdir() if self._folder is not None else ():
                about = path.lstat()
                if stat.S_ISREG(about.st_mode) and _OURS.fullmatch(path.name):
                    found.append((about.st_mtime, path))
                else:
                    strangers.append(path.name)
        except OSError as error:
            LOG.error("spool_unusable", error=error.strerror)
        if strangers:
            note = "not files of ours; left where they are"
            LOG.warning("spool_strangers", count=len(strangers), first=min(strangers)[:100], note=note)
        return [path for _, path in sorted(found)[:MAX_FILES]]

    @staticmethod
    def _discard(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            LOG.error("spool_not_removed", file=path.name, error=error.strerror)


def _name(key: Key) -> str:
    """Of the file. The id is the broker's text: hashed, it cannot name another folder or be too long."""
    return f"{hashlib.sha256(key.job_id.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.{key.fence}.json"


def _read(path: Path) -> tuple[Entry, str]:
    """An entry and the broker that it is for. An error of any common kind when it is not whole."""
    if path.suffix != ".json":
        raise ValueError("an earlier process died while it wrote this")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError("too large")
    value = json.loads(data)
    entry = Entry(dict(value["who"]), dict(value["completion"]), str(value.get("sandrun_id") or ""))
    _check(entry)
    if path.name != _name(entry.key):
        raise ValueError("not the name that this result has")  # it would not be removed once it is delivered
    return entry, str(value.get("broker") or "")


def _shown(value: object) -> bool:
    """Whether it can be a header's value, as who a node is has to be."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _check(entry: Entry) -> None:
    """ValueError unless all is there that a delivery looks at: a bad file must not end the agent at each start."""
    completion = entry.completion
    lists = [completion.get(name, []) for name in ("artifacts", "artifacts_dropped")]
    good = (
        _shown(entry.who.get("node_id"))
        and (entry.who.get("session") is None or _shown(entry.who["session"]))
        and isinstance(completion["job_id"], str)
        and type(completion["fence"]) is int
        and isinstance(completion["failure"], str | None)
        and all(isinstance(completion.get(name), str | None) for name in ("output", "error", "message"))
        and all(isinstance(files, list) and all(isinstance(file, dict) for file in files) for files in lists)
        and all(isinstance(file.get(name), str) for file in lists[0] for name in ("path", "sha256"))
    )
    if not good:
        raise ValueError("fields of another kind than a result has")
