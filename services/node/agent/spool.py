"""Results on disk until the broker has acknowledged them: one file each, written durably, read back after a restart."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.identity import write_durably
from agent.logs import EventLog
from agent.model import Key

LOG = EventLog("agent.spool")

# The claimer stops long before (outbox.FULL_*); this only bounds the disk should something else fill the folder.
MAX_FILES = 1024


@dataclass(frozen=True)
class Entry:
    """One result to deliver, with the session in whose name it counts. `completion` as POST /complete takes it."""

    who: dict[str, Any]
    completion: dict[str, Any]

    @property
    def key(self) -> Key:
        """The attempt it is about."""
        return Key(self.completion["job_id"], self.completion["fence"])

    @property
    def size(self) -> int:
        """About how many characters it has to carry."""
        return 500 + len(self.completion.get("output") or "") + len(self.completion.get("error") or "")


class Spool:
    """A folder of results; without a folder nothing is kept. Calls for one key must not overlap."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "spool" if folder else None
        if self._folder is not None:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                LOG.warning("spool_unusable", error=error.strerror, note="results are kept in memory only")
                self._folder = None

    def keep(self, entry: Entry) -> bool:
        """Write it durably; False when there is no room or no folder (it then lives in memory only)."""
        if self._folder is None:
            return False
        try:
            if sum(1 for _ in self._folder.iterdir()) >= MAX_FILES:
                LOG.error("spool_full", files=MAX_FILES)
                return False
            data = json.dumps({"who": entry.who, "completion": entry.completion}).encode()
            write_durably(self._path(self._folder, entry.key), data)
        except OSError as error:
            LOG.error("spool_not_written", job=entry.key.job_id, error=error.strerror)
            return False
        return True

    def remove(self, key: Key) -> None:
        """It needs no delivery any more."""
        if self._folder is not None:
            try:
                self._path(self._folder, key).unlink(missing_ok=True)
            except OSError as error:
                LOG.error("spool_not_removed", job=key.job_id, error=error.strerror)

    def load(self) -> list[Entry]:
        """What an earlier process left, oldest first; files that cannot be read are removed."""
        if self._folder is None:
            return []
        entries = []
        for path in sorted(self._folder.iterdir(), key=lambda p: p.stat().st_mtime)[:MAX_FILES]:
            try:
                if path.suffix != ".json":
                    raise ValueError("an earlier process died while it wrote this")
                value = json.loads(path.read_bytes())
                entry = Entry(dict(value["who"]), dict(value["completion"]))
                str(entry.key.job_id + str(entry.key.fence + 0))
                entries.append(entry)
            except (OSError, ValueError, KeyError, TypeError) as error:
                LOG.warning("spool_unreadable", file=path.name, error=type(error).__name__)
                path.unlink(missing_ok=True)
        return entries

    @staticmethod
    def _path(folder: Path, key: Key) -> Path:
        # The id is the broker's text: hashed, it cannot name another folder or be too long.
        return folder / f"{hashlib.sha256(key.job_id.encode()).hexdigest()[:32]}.{key.fence}.json"
