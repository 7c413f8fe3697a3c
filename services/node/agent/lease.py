"""The session at the broker and its lease: the node's time-limited right to its attempts."""

import threading
from typing import Any

from agent.broker_client import SHORTEST_BEAT, SessionTerms
from agent.clock import Clock


class Lease:
    """Counts from before the last good beat was *sent*, on a clock that counts suspend. Thread-safe.

    It is over a little early (5 % of its length, at most a second): the sandboxes must be dead, not dying, when the
    broker hands their jobs to another node.
    """

    def __init__(self, clock: Clock, seconds: float, sent_at: float) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._good_at = sent_at
        self._until = _end(seconds, sent_at)
        self._lapses = 0

    def renew(self, seconds: float, sent_at: float) -> None:
        """A beat sent at `sent_at` was answered well.

        The newest beat counts, also when its lease is shorter than the last (a broker that was restarted with another
        NODE_TIMEOUT); the answer of an earlier one says nothing new.
        """
        with self._lock:
            if sent_at < self._good_at:
                return
            self._lapses += self._clock.now() >= self._until
            self._good_at = sent_at
            self._until = _end(seconds, sent_at)

    @property
    def lapses(self) -> int:
        """How often it was over so far, now included. What was granted before the last time may be another node's."""
        with self._lock:
            return self._lapses + (self._clock.now() >= self._until)

    @property
    def remaining(self) -> float:
        """Seconds left, negative when it is over."""
        with self._lock:
            return self._until - self._clock.now()

    @property
    def age(self) -> float:
        """Seconds since the last good beat was sent."""
        with self._lock:
            return self._clock.now() - self._good_at

    @property
    def over(self) -> bool:
        """Whether the node has to stop all its runs."""
        return self.remaining <= 0


def _end(seconds: float, sent_at: float) -> float:
    return sent_at + seconds - min(1.0, seconds * 0.05)


class Session:
    """One registration of this process. It ends when the broker says so or the agent wants a new one."""

    def __init__(self, terms: SessionTerms, clock: Clock) -> None:
        self.node_id = terms.node_id
        self.token = terms.session
        self.heartbeat_seconds = self._usual_beat = terms.heartbeat_seconds
        self.lease = Lease(clock, terms.lease_seconds, terms.sent_at)
        self.over = threading.Event()
        self.reason = ""

    @property
    def who(self) -> dict[str, Any]:
        """The fields by which the broker knows the session."""
        return {"node_id": self.node_id} if self.token is None else {"node_id": self.node_id, "session": self.token}

    def renew(self, lease_seconds: float, sent_at: float) -> None:
        """A beat was answered well; a lease that has become shorter is to be renewed more often."""
        self.lease.renew(lease_seconds, sent_at)
        self.heartbeat_seconds = min(self._usual_beat, max(SHORTEST_BEAT, lease_seconds / 3))

    def end(self, reason: str) -> None:
        """No call of this session makes sense any more; the first reason is kept."""
        if not self.over.is_set():
            self.reason = reason
            self.over.set()
