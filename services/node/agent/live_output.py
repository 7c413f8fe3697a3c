"""What running jobs print, for jobs that somebody reads: from sandrun to the broker as it comes, on demand only."""

import base64
import threading
import time
from collections.abc import Iterable
from typing import Any

from agent.attempts import Attempt, Attempts
from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.errors import BrokerError, SandrunError, SandrunGoneError
from agent.logs import EventLog
from agent.model import Key, read_keys
from agent.sandrun_client import SandrunClient
from agent.threads import Crash

LOG = EventLog("agent.live")

MOST_FOLLOWED = 64
MOST_EARLY = 256
LOG_WAIT = 10  # seconds that a waiting log call of sandrun holds
GATHER = 0.04  # between two calls to the broker: several lines go in one, and 300 ms are far away
MOST_BYTES = 384 * 1024  # of each stream in one call: the protocol's 1 MiB, in base64
TRIES = 8
RETRY_BASE, RETRY_CAP = 0.1, 2.0


class LiveOutput:
    """One thread for each followed attempt, none when there is none."""

    def __init__(self, sandrun: SandrunClient, broker: BrokerClient, attempts: Attempts, crash: Crash) -> None:
        self._sandrun = sandrun
        self._broker = broker
        self._attempts = attempts
        self._crash = crash
        self._lock = threading.Lock()
        self._followed: dict[Key, threading.Event] = {}
        self._early: dict[Key, tuple[int, int]] = {}
        """Wishes for attempts that are not here yet: the link is quicker than a claim's answer can be."""
        self.possible = False
        """Whether this sandrun gives running jobs' output as bytes."""

    def obey(self, orders: Any) -> None:
        """Follow what a list of the broker names: entries with job_id, fence, stdout_from, stderr_from."""
        for order in orders if isinstance(orders, list) else ():
            for key in read_keys([order]):
                self.follow(key, _whole(order.get("stdout_from")), _whole(order.get("stderr_from")))

    def follow(self, key: Key, stdout_from: int = 0, stderr_from: int = 0) -> None:
        """Send this attempt's output from these bytes on; nothing when it is followed, unknown or over."""
        attempt = self._attempts.find(key)
        if attempt is None:
            self._remember(key, stdout_from, stderr_from)
            attempt = self._attempts.find(key)  # it may have come meanwhile
        if attempt is None or attempt.settled or not self.possible:
            return
        with self._lock:
            if key in self._followed or len(self._followed) >= MOST_FOLLOWED:
                return
            enough = self._followed[key] = threading.Event()
        offsets = {"stdout": stdout_from, "stderr": stderr_from}
        try:
            self._crash.spawn(f"follow-{key.job_id[:8]}", lambda: self._run(attempt, offsets, enough))
        except RuntimeError as error:  # the next beat's answer names it again
            LOG.error("no_thread", error=str(error))
            with self._lock:
                self._followed.pop(key, None)

    def granted(self, attempt: Attempt) -> None:
        """A claim brought this attempt; whoever reads it may have been told of before the claim's answer was here."""
        with self._lock:
            early = self._early.pop(attempt.key, None)
        if early is not None or attempt.job.follow:
            self.follow(attempt.key, *(early or (0, 0)))

    def _remember(self, key: Key, stdout_from: int, stderr_from: int) -> None:
        with self._lock:
            self._early[key] = (stdout_from, stderr_from)
            while len(self._early) > MOST_EARLY:
                self._early.pop(next(iter(self._early)))

    def unfollow(self, keys: Iterable[Key]) -> None:
        """Nobody reads these any more."""
        with self._lock:
            for key in keys:
                if key in self._followed:
                    self._followed[key].set()

    def _run(self, attempt: Attempt, offsets: dict[str, int], enough: threading.Event) -> None:
        try:
            while not attempt.started.wait(0.5):
                if attempt.settled or enough.is_set():
                    return
            self._follow(attempt, offsets, enough)
        except (BrokerError, SandrunError) as error:
            LOG.warning("not_followed", **attempt.key.facts, error=str(error))
        finally:
            with self._lock:
                self._followed.pop(attempt.key, None)

    def _follow(self, attempt: Attempt, offsets: dict[str, int], enough: threading.Event) -> None:
        first = True
        while not enough.is_set():
            began = time.monotonic()
            wait = 0 if first else LOG_WAIT
            found = self._sandrun.live_logs(str(attempt.sandrun_id), offsets["stdout"], offsets["stderr"], wait)
            chunks = _chunks(attempt.key, found, offsets)
            over = found.get("status") in ("completed", "failed")
            if (chunks or first) and not self._send(attempt, chunks or [_nothing(attempt.key)], enough):
                return
            first = False
            if over and not chunks:
                return
            enough.wait(max(0.0, began + GATHER - time.monotonic()))

    def _send(self, attempt: Attempt, chunks: list[dict[str, Any]], enough: threading.Event) -> bool:
        """False when the broker wants no more of it. A call that got lost is made again: offsets make that harmless."""
        backoff = Backoff(RETRY_BASE, RETRY_CAP)
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                stop = self._broker.progress(attempt.session.who, chunks)
                return attempt.key not in stop
            except BrokerError:
                if not tries_left or enough.wait(backoff.next()) or attempt.session.over.is_set():
                    raise
        return False


def _chunks(key: Key, found: dict[str, Any], offsets: dict[str, int]) -> list[dict[str, Any]]:
    """What is new, and `offsets` moved behind it."""
    chunks = []
    for stream in offsets:
        try:
            data = base64.b64decode(found.get(f"{stream}_base64") or "")[:MOST_BYTES]
        except (ValueError, TypeError) as error:
            raise SandrunGoneError(f"/logs: {stream} is no base64") from error
        if data:
            start = _whole(found.get(f"{stream}_from"))
            chunks.append(_chunk(key, stream, start, data))
            offsets[stream] = start + len(data)
    return chunks


def _nothing(key: Key) -> dict[str, Any]:
    """An empty chunk: the broker learns that there is nothing yet."""
    return _chunk(key, "stdout", 0, b"")


def _chunk(key: Key, stream: str, offset: int, data: bytes) -> dict[str, Any]:
    return {**key.wire(), "stream": stream, "offset": offset, "data_base64": base64.b64encode(data).decode()}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
