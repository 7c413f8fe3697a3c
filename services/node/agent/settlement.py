"""How an attempt ends on this node: with a result, given back, or dropped. Each ends once, whoever is first."""

import threading
from collections.abc import Callable

from agent.attempts import Attempt, Attempts
from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.logs import EventLog
from agent.metrics import Metrics
from agent.model import Completion, Key
from agent.outbox import Outbox
from agent.spool import Entry
from agent.tracing import Tracing

LOG = EventLog("agent.settlement")

RELEASE_TRIES = 4
RELEASE_BASE, RELEASE_CAP = 0.2, 1.0


class Settlement:
    """Ends attempts. Every method returns False when somebody else has ended the attempt already."""

    def __init__(
        self,
        attempts: Attempts,
        outbox: Outbox,
        releases: "Releases",
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing()
        self._attempts = attempts
        self._outbox = outbox
        self._releases = releases
        self._metrics = metrics

    def result(self, attempt: Attempt, completion: Completion) -> bool:
        """Hand this in to the broker."""
        if not self._attempts.settle(attempt):
            return False
        left_files = completion.artifacts or completion.artifacts_dropped
        sandrun_id = (attempt.sandrun_id or "") if left_files else ""
        self._outbox.add(Entry(attempt.session.who, completion.wire(), sandrun_id))
        self._metrics.ended(completion.failure or "completed")
        self._tracing.ran(attempt, completion.failure or "completed", completion.exit_code)
        LOG.info(
            "attempt_ended",
            **attempt.facts,
            failure=completion.failure,
            exit_code=completion.exit_code,
            wall_seconds=completion.usage.get("wall_seconds"),
            message=completion.message if completion.failure == "platform" else None,
        )
        return True

    def release(self, attempt: Attempt, reason: str) -> bool:
        """Give it back: the job runs elsewhere or later and no attempt is used up."""
        if not self._attempts.settle(attempt):
            return False
        LOG.info("attempt_released", **attempt.facts, reason=reason)
        self._releases.add(attempt, reason)
        self._metrics.ended("released")
        self._tracing.ran(attempt, "released")
        return True

    def drop(self, attempt: Attempt, reason: str) -> bool:
        """It is not this node's any more: forget it and say nothing."""
        if not self._attempts.settle(attempt):
            return False
        LOG.warning("attempt_dropped", **attempt.facts, reason=reason)
        self._attempts.forget(attempt.key)
        self._metrics.ended("dropped")
        self._tracing.ran(attempt, "dropped")
        return True


class Releases:
    """Tells the broker, in the background, which attempts are given back.

    After RELEASE_TRIES the attempt is merely forgotten: the next beat no longer lists it and the broker puts it back.
    """

    def __init__(
        self, broker: BrokerClient, attempts: Attempts, on_session_over: Callable[[Session, str], None]
    ) -> None:
        self._broker = broker
        self._attempts = attempts
        self._on_session_over = on_session_over
        self._waiting: list[tuple[Attempt, str]] = []
        self._in_flight = 0
        self._changed = threading.Condition()

    def add(self, attempt: Attempt, reason: str) -> None:
        """Give this attempt back soon."""
        with self._changed:
            self._waiting.append((attempt, reason))
            self._changed.notify_all()

    def run(self, stop: threading.Event) -> None:
        """Release what is added until `stop` is set."""
        while not stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting, timeout=1.0)
                batch, self._waiting = self._waiting, []
                self._in_flight = len(batch)
            groups: dict[tuple[Session, str], list[Key]] = {}
            for attempt, reason in batch:
                groups.setdefault((attempt.session, reason), []).append(attempt.key)
            for (session, reason), keys in groups.items():
                self._release(session, keys, reason, stop)
            with self._changed:
                self._in_flight = 0
                self._changed.notify_all()

    def wait_empty(self, timeout: float) -> bool:
        """Wait until everything added is given back or forgotten; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._in_flight, timeout)

    def _release(self, session: Session, keys: list[Key], reason: str, stop: threading.Event) -> None:
        backoff = Backoff(RELEASE_BASE, RELEASE_CAP)
        for tries_left in range(RELEASE_TRIES - 1, -1, -1):
            try:
                self._broker.release(session.who, keys, reason)
                break
            except SessionOverError as error:
                self._on_session_over(session, error.reason)
                break
            except BrokerRefusedError as error:
                LOG.warning("release_refused", error=str(error))
                break
            except BrokerAwayError as error:
                LOG.warning("release_failed", count=len(keys), tries_left=tries_left, error=str(error))
                if tries_left == 0 or stop.wait(backoff.next()):
                    break
        for key in keys:
            self._attempts.forget(key)
