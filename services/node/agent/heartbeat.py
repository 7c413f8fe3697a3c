"""The beat: renews the lease, says what the node holds, and carries the broker's orders back.

It runs in a thread of its own, so that no job, claim or delivery can keep it waiting.
"""

import threading
from collections.abc import Callable
from typing import Any

from agent import answers
from agent.attempts import Attempts
from agent.backoff import Backoff, jittered
from agent.broker_client import BrokerClient
from agent.clock import Clock
from agent.errors import BrokerAwayError, BrokerError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.live_output import LiveOutput
from agent.logs import EventLog
from agent.model import read_keys
from agent.orders import Orders

LOG = EventLog("agent.heartbeat")

RETRY_BASE = 0.5


class Heartbeat:
    """Beats for one session."""

    def __init__(
        self,
        session: Session,
        *,
        broker: BrokerClient,
        clock: Clock,
        attempts: Attempts,
        orders: Orders,
        live: LiveOutput,
        condition: Callable[[], dict[str, Any]],
        retry_cap: float,
    ) -> None:
        self._session = session
        self._broker = broker
        self._clock = clock
        self._attempts = attempts
        self._orders = orders
        self._live = live
        self._condition = condition
        self._retry_cap = retry_cap
        self._poke = threading.Event()

    def poke(self) -> None:
        """Beat now."""
        self._poke.set()

    def run(self) -> None:
        """Beat until the session is over."""
        session = self._session
        backoff = Backoff(RETRY_BASE, min(self._retry_cap, session.heartbeat_seconds))
        while not session.over.is_set():
            self._poke.clear()
            try:
                self.beat()
                backoff.reset()
                # A little early and at odd moments, so that a fleet that started together does not beat together.
                pause = jittered(session.heartbeat_seconds, 0.2)
            except SessionOverError as error:
                session.end(error.reason)
                return
            except BrokerError as error:
                pause = backoff.next()
                if isinstance(error, BrokerAwayError) and error.retry_after:
                    pause = max(pause, min(error.retry_after, session.heartbeat_seconds))
                LOG.warning(
                    "beat_failed",
                    error=str(error),
                    refused=isinstance(error, BrokerRefusedError),
                    lease_left=round(session.lease.remaining, 1),
                )
            self._poke.wait(pause)

    def beat(self, read_timeout: float = 10.0) -> None:
        """One beat and what its answer asks for."""
        session = self._session
        claims_done, held = self._attempts.held()
        body = {
            **session.who,
            "held": [key.wire() for key in held],
            "claims_done": claims_done,
            **self._condition(),
        }
        sent_at = self._clock.now()
        # Bounded by the beat's own period: a slow broker must not make the beat late twice.
        answer = self._broker.heartbeat(body, read_timeout=min(read_timeout, max(1.0, session.heartbeat_seconds)))
        session.renew(answers.seconds(answer, "lease_seconds", session.heartbeat_seconds * 3), sent_at)
        for key in read_keys(answer.get("lost")):
            self._orders.lost(key, "the broker says so")
        for key in read_keys(answer.get("cancel")):
            self._orders.cancel(key)
        self._live.obey(answer.get("follow"))
        self._orders.drain(answer.get("drain") is True)
