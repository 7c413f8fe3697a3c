"""The files that a job left: from sandrun to the broker, before the result is handed in.

A run that left files is not settled when its program ends but when its files are with the broker, by threads of this
module: the slot is free for the next job meanwhile. sandrun keeps the files until the broker has acknowledged the
result, so that a broker that was restarted in between can be sent them again.
"""

import queue
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.attempts import Attempt
from agent.backoff import Backoff
from agent.errors import BrokerAwayError, BrokerRefusedError, SandrunGoneError, SessionOverError
from agent.lease import Session
from agent.logs import EventLog
from agent.model import Completion, Key, platform_failure
from agent.sandrun_client import SandrunClient
from agent.settlement import Settlement
from agent.spool import Entry
from agent.transfers import Transfers
from loglines import about

LOG = EventLog("agent.artifacts")

RETRY_BASE, RETRY_CAP = 0.2, 5.0
MOST_NAMED = 200  # dropped files that a completion names
SANDRUN_NAMES = 100  # dropped files that our sandrun names
TRIES = 5  # of one file whose content sandrun gives with another checksum than it said


@dataclass
class Left:
    """What a run left in sandrun."""

    sandrun_id: str
    files: list[dict[str, Any]]
    """Entries of /complete's `artifacts`; `sha256` is empty where sandrun did not say."""
    dropped: list[dict[str, Any]] = field(default_factory=list)


def left_by(sandrun_id: str, status: dict[str, Any]) -> Left | None:
    """What a status document says of files; None when the run left nothing."""
    found = status.get("output_files")
    files = [
        {
            "path": str(path),
            "size": int(entry.get("size_bytes") or 0),
            "sha256": str(entry.get("sha256") or ""),
            "mime": str(entry.get("type") or "") or None,
        }
        for path, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, dict)
    ]
    said = status.get("output_dropped")
    dropped = [
        {"path": str(each.get("path")), "size": each.get("size_bytes"), "reason": str(each.get("reason"))}
        for each in (said if isinstance(said, list) else ())
        if isinstance(each, dict)
    ]
    notes = status.get("output_notes")
    if isinstance(notes, list) and len(dropped) >= SANDRUN_NAMES:
        # sandrun names the first only, and counts all of them in sentences.
        dropped += [{"path": "", "size": None, "reason": str(note)[:100]} for note in notes]
    return Left(sandrun_id, files, dropped[:MOST_NAMED]) if files or dropped else None


class Artifacts:
    """Sends files. `run` is called by several threads."""

    def __init__(
        self,
        transfers: Transfers,
        sandrun: SandrunClient,
        settlement: Settlement,
        on_session_over: Callable[[Session, str], None],
    ) -> None:
        self._transfers = transfers
        self._sandrun = sandrun
        self._settlement = settlement
        self._on_session_over = on_session_over
        self._waiting: queue.Queue[tuple[Attempt, Completion, Left]] = queue.Queue()

    def hand_over(self, attempt: Attempt, completion: Completion, left: Left) -> None:
        """Settle this attempt when its files are sent. As many wait as the broker lets this node hold attempts."""
        attempt.delivering = True
        self._waiting.put((attempt, completion, left))

    def run(self, stop: threading.Event) -> None:
        """Send what is handed over, until `stop` is set."""
        while not stop.is_set():
            try:
                attempt, completion, left = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            try:
                with about(attempt.key.request_id, attempt.job.request_id):
                    self._send_all(attempt, completion, left)
            except SessionOverError as error:
                self._on_session_over(attempt.session, error.reason)
            except SandrunGoneError as error:
                self._settlement.result(attempt, platform_failure(attempt.key, f"its files are lost: {error}"))
            except Exception as error:
                LOG.crash("files_crashed", **attempt.key.facts)
                failure = platform_failure(attempt.key, f"the agent failed: {type(error).__name__}")
                self._settlement.result(attempt, failure)

    def send_again(self, entry: Entry, missing: list[str]) -> bool:
        """Send contents that a restarted broker has not got any more; False when sandrun has them no more either.

        The entry says all that is needed: it may be from before a restart of this agent. BrokerAwayError,
        SessionOverError.
        """
        by_hash = {file.get("sha256"): file for file in entry.completion.get("artifacts") or ()}
        if not entry.sandrun_id or not by_hash.keys() >= set(missing):
            return False
        try:
            for sha256 in missing:
                self._put(entry.who, entry.key, entry.sandrun_id, by_hash[sha256])
        except (SandrunGoneError, FileNotFoundError, BrokerRefusedError, KeyError, TypeError) as error:
            LOG.warning("files_not_sent_again", **entry.key.facts, error=str(error))
            return False
        return True

    def done(self, sandrun_id: str) -> None:
        """Nobody wants these files any more, or the broker has them: sandrun need keep nothing of the run."""
        if sandrun_id:
            try:
                self._sandrun.forget(sandrun_id)
            except SandrunGoneError as error:
                LOG.debug("not_forgotten", sandrun_job=sandrun_id, error=str(error))

    def _send_all(self, attempt: Attempt, completion: Completion, left: Left) -> None:
        sent: list[dict[str, Any]] = []
        done: set[str] = set()
        for file in left.files:
            if file["sha256"] in done or (reason := self._deliver(attempt, left, file)) is None:
                sent.append(file)
                done.add(file["sha256"])
            elif reason:
                left.dropped.append({"path": file["path"], "size": file["size"], "reason": reason})
            else:  # the attempt is over
                self.done(left.sandrun_id)
                return
        whole = replace(completion, artifacts=sent, artifacts_dropped=left.dropped[:MOST_NAMED])
        if not self._settlement.result(attempt, whole):
            self.done(left.sandrun_id)

    def _deliver(self, attempt: Attempt, left: Left, file: dict[str, Any]) -> str | None:
        """Send one file. None: done. Otherwise why it is dropped; empty when nobody wants it any more."""
        backoff = Backoff(RETRY_BASE, RETRY_CAP)
        wrong = 0
        while not attempt.settled and not attempt.session.lease.over:
            try:
                self._put(attempt.session.who, attempt.key, left.sandrun_id, file)
                return None
            except FileNotFoundError:
                return "unreadable"
            except BrokerAwayError as error:
                LOG.warning("file_waits", **attempt.key.facts, error=str(error))
            except BrokerRefusedError as error:
                if error.reason == "stale_lease":
                    self._settlement.drop(attempt, "the broker says so")
                    return ""
                if error.reason != "wrong_checksum":
                    return error.reason or "unsupported"
                wrong += 1
                if wrong >= TRIES:
                    return "wrong_checksum"
            attempt.ended.wait(backoff.next())
        return ""

    def _put(self, who: dict[str, Any], key: Key, sandrun_id: str, file: dict[str, Any]) -> None:
        with self._transfers.output(sandrun_id, file["path"], file["size"]) as download:
            if file["sha256"]:
                self._transfers.put(who, key, file["sha256"], download)
                return
            with tempfile.NamedTemporaryFile() as temporary:  # a foreign sandrun does not say the hash
                file["sha256"] = download.save(Path(temporary.name))
                self._transfers.put(who, key, file["sha256"], _Saved(Path(temporary.name)))


class _Saved:
    """A file on disk as a body."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        if not data:
            self._file.close()
        return data
