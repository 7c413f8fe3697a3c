"""What the broker tells the node to do, whether a beat's answer or the link says it: cancel, lost, drain, resume."""

import threading
from collections.abc import Callable

from agent.attempts import Attempts, Stop
from agent.logs import EventLog
from agent.model import Key
from agent.outbox import Outbox
from agent.stopper import Stopper

LOG = EventLog("agent.orders")


class Orders:
    """Carries out the broker's orders; each may come twice and too late."""

    def __init__(self, attempts: Attempts, outbox: Outbox, stopper: Stopper, on_change: Callable[[], None]) -> None:
        self._attempts = attempts
        self._outbox = outbox
        self._stopper = stopper
        self._on_change = on_change
        self._drain = threading.Event()

    @property
    def draining(self) -> bool:
        """Whether the broker wants this node to claim nothing."""
        return self._drain.is_set()

    def drain(self, wanted: bool) -> None:
        """Claim nothing from now on, or claim again."""
        if wanted == self._drain.is_set():
            return
        LOG.info("broker_drains" if wanted else "broker_resumes")
        if wanted:
            self._drain.set()
        else:
            self._drain.clear()
        self._on_change()

    def cancel(self, key: Key) -> None:
        """Its owner wants it ended. An attempt that has ended already is delivered as it is."""
        attempt = self._attempts.find(key)
        if attempt is not None and not attempt.settled and not attempt.delivering:
            LOG.info("attempt_cancelled", **key.facts)
            self._stopper.stop(attempt, Stop.CANCEL, "cancelled")

    def lost(self, key: Key, reason: str) -> None:
        """It is no longer this node's: kill it, and deliver nothing for it."""
        attempt = self._attempts.find(key)
        if attempt is not None:
            self._stopper.stop(attempt, Stop.LOST, reason)
            self._attempts.forget(key)
        self._outbox.done(key)
