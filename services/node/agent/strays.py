"""Programs that a killed agent left in sandrun: remembered in the state folder, ended by the next agent.

In the node container sandrun ends with its agent. Beside a standalone one that was killed it goes on, and its programs
would keep slots and processor until their own time is over, for a broker that has given the jobs to others.
"""

import json
import os
import threading
import time
from pathlib import Path

from agent.errors import SandrunGoneError
from agent.logs import EventLog
from agent.sandrun_client import SandrunClient
from agent.sandrun_watch import SandrunWatch

LOG = EventLog("agent.strays")

NOTE_AFTER = 0.25  # seconds: a run that is shorter is over before anybody could end it, and costs no disk write
TRIES = 3
MOST, LONGEST_FILE = 1024, 1 << 20


class Strays:
    """`folder` None: nothing is remembered. Nothing is synced: what ends a machine ends its sandrun too."""

    def __init__(self, folder: Path | None, sandrun_url: str) -> None:
        self._path = folder / "runs.json" if folder else None
        self._sandrun_url = sandrun_url
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._changed = threading.Event()
        self._written: list[str] = []
        self._left = self._load()
        self.none_left = threading.Event()
        """Set when nothing of an earlier agent's runs any more, as far as can be told."""
        if not self._left:
            self.none_left.set()

    def began(self, sandrun_id: str) -> None:
        """It runs now."""
        with self._lock:
            self._running[sandrun_id] = time.monotonic()
        self._changed.set()

    def ended(self, sandrun_id: str) -> None:
        """It runs no more."""
        with self._lock:
            self._running.pop(sandrun_id, None)
        self._changed.set()

    def run(self, sandrun: SandrunClient, watch: SandrunWatch, stop: threading.Event) -> None:
        """End what is left as soon as sandrun is there, then keep the file true until `stop` is set."""
        for _ in range(TRIES):
            while self._left and not stop.is_set() and not watch.wait_up(0.5):
                pass
            if stop.is_set():
                return
            self._end_left(sandrun, watch)
        if self._left:
            LOG.error("strays_left_running", count=len(self._left))
        self.none_left.set()
        self.write()
        while not stop.is_set():
            if self._changed.wait(1.0):
                self._changed.clear()
                stop.wait(NOTE_AFTER)
                self.write()

    def _end_left(self, sandrun: SandrunClient, watch: SandrunWatch) -> None:
        if self._left and not watch.description.can("cancel"):
            LOG.warning("strays_left_running", count=len(self._left), note="this sandrun cannot end a job")
            self._left = []
        while self._left:
            try:
                sandrun.cancel(self._left[0])
            except SandrunGoneError as error:
                LOG.warning("stray_not_ended", error=str(error))
                watch.suspect(str(error))
                return
            LOG.info("stray_ended", run=self._left.pop(0))

    def write(self) -> None:
        """Put down what has run for a while."""
        noted = time.monotonic() - NOTE_AFTER
        with self._lock:
            runs = sorted(run for run, began in self._running.items() if began <= noted)[:MOST]
            if len(runs) < len(self._running):
                self._changed.set()
        if runs == self._written or self._path is None:
            return
        try:
            fresh = self._path.with_name("runs.json.new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"sandrun": self._sandrun_url, "runs": runs}, file)
            fresh.replace(self._path)
        except OSError as error:
            LOG.warning("runs_not_written", error=error.strerror)
        self._written = runs

    def _load(self) -> list[str]:
        """What an earlier agent left in this sandrun; anything that cannot be read is nothing."""
        if self._path is None:
            return []
        try:
            with os.fdopen(
                os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb"
            ) as file:
                found = json.loads(file.read(LONGEST_FILE))
            runs = found["runs"] if found["sandrun"] == self._sandrun_url else []
            self._written = [run for run in runs if isinstance(run, str) and run][:MOST]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            LOG.warning("runs_unreadable", error=type(error).__name__)
            self._written = ["?"]  # so that it is written anew
            return []
        return list(self._written)
