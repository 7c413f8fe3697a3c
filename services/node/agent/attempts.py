"""The table of attempts that this node holds: what heartbeats list, what can be stopped, and who ends an attempt.

An attempt is *held* from its claim until the broker has acknowledged its end, and *open* until somebody settles it.
Settling happens once: the run's own end, a cancellation, a lost lease and a drain may all want to end the same attempt,
and the first one wins.
"""

import threading
import time
from collections.abc import Iterable
from enum import Enum
from typing import Any

from agent.lease import Session
from agent.model import Job, Key


class Stop(Enum):
    """Why a run is to be ended early."""

    CANCEL = "cancelled"
    """Its owner asked: report it as cancelled."""
    LOST = "lost"
    """It is no longer this node's: report nothing."""
    RELEASE = "released"
    """The node drains: give it back."""


class Attempt:
    """One attempt on this node. Thread-safe."""

    def __init__(self, job: Job, session: Session) -> None:
        self.job = job
        self.key = job.key
        self.session = session
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._stop: Stop | None = None
        self._sandrun_id: str | None = None
        self.stopping = threading.Event()
        self.handed = threading.Event()
        """Set when sandrun may have it."""
        self.started = threading.Event()
        """Set when sandrun has it."""
        self.delivering = False
        """Its program has ended; its files are on their way."""
        self.began_at = self.submitted_at = self.ended_at = 0.0
        """Seconds since 1970, for its trace: it got a slot, sandrun took it, sandrun said how it ended; 0: not yet."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a log line says of it."""
        named = {"submit_request": self.job.request_id} if self.job.request_id else {}
        return {**self.key.facts, "attempt": self.job.attempt, **named}

    @property
    def settled(self) -> bool:
        """Whether somebody has decided how it ends."""
        return self.ended.is_set()

    @property
    def stop(self) -> Stop | None:
        """Why this run is being ended, None while it is not."""
        return self._stop

    @property
    def sandrun_id(self) -> str | None:
        """sandrun's id for the run, None before it accepted it."""
        return self._sandrun_id

    def launched(self, sandrun_id: str) -> bool:
        """sandrun runs it now. False when it was to be stopped meanwhile: the caller must end it there."""
        with self._lock:
            self._sandrun_id = sandrun_id
            self.submitted_at = time.time()
            self.started.set()
            return self._stop is None

    def request_stop(self, why: Stop) -> bool:
        """Ask for an early end; True when that is news. A lost attempt stays lost, whatever is asked later."""
        with self._lock:
            news = self._stop is None or (why is Stop.LOST and self._stop is not Stop.LOST)
            if news:
                self._stop = why
            self.stopping.set()
            return news


class Attempts:
    """All attempts of the current session. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._held: dict[Key, Attempt] = {}
        self._session: Session | None = None
        self._claims_done = 0

    def open_session(self, session: Session) -> None:
        """Start afresh for a new session; whatever is left of the old one is held no longer."""
        with self._lock:
            self._session = session
            self._claims_done = 0
            for attempt in self._held.values():
                attempt.ended.set()
            self._held.clear()
            self._lock.notify_all()

    def grant(self, session: Session, claim_number: int, jobs: Iterable[Job]) -> list[Attempt]:
        """Take in a claim's answer; the new attempts. None when the session is not the current one any more.

        A claim that is given up is granted nothing: what it may have brought goes back to the queue with the next beat.
        """
        with self._lock:
            if session is not self._session:
                return []
            # In one step with the list: a beat must never count a claim as done without listing what it brought.
            # By key: were one named twice, the second run would be in no list, and nothing could end it.
            named = {job.key: job for job in jobs if job.key not in self._held}
            fresh = [Attempt(job, session) for job in named.values()]
            self._held.update((attempt.key, attempt) for attempt in fresh)
            self._claims_done = max(self._claims_done, claim_number)
            return fresh

    def give_up_claim(self, session: Session, claim_number: int) -> None:
        """The answer to this claim will not be waited for; the next beat tells the broker so."""
        self.grant(session, claim_number, ())

    def held(self) -> tuple[int, list[Key]]:
        """The number of the last claim answered or given up, and every attempt held at that moment."""
        with self._lock:
            return self._claims_done, list(self._held)

    def find(self, key: Key) -> Attempt | None:
        """The attempt with this key, None when it is not held."""
        with self._lock:
            return self._held.get(key)

    def open(self) -> list[Attempt]:
        """The attempts that nobody has settled yet."""
        with self._lock:
            return [attempt for attempt in self._held.values() if not attempt.settled]

    def settle(self, attempt: Attempt) -> bool:
        """Claim the right to end this attempt: True for the first caller only."""
        with self._lock:
            if attempt.settled:
                return False
            attempt.ended.set()
            self._lock.notify_all()
            return True

    def forget(self, key: Key) -> None:
        """The broker knows the end of this attempt, or does not want to: hold it no longer."""
        with self._lock:
            attempt = self._held.pop(key, None)
            if attempt is not None:
                attempt.ended.set()
            self._lock.notify_all()

    def wait_settled(self, timeout: float) -> bool:
        """Wait until no attempt is open; False when the time is up."""
        with self._lock:
            return self._lock.wait_for(lambda: all(a.settled for a in self._held.values()), timeout)
