"""Has every run killed when the lease is over, whatever the other threads are waiting for.

Its thread touches no file and no connection, so whatever hangs, the lease's end is noticed.
"""

import threading
from collections.abc import Callable

from agent.attempts import Stop
from agent.lease import Session
from agent.logs import EventLog
from agent.parts import Parts
from agent.serving import Serving

LOG = EventLog("agent")

GUARD_EVERY = 0.25
"""Seconds: how late a lease's end, or that no slot became free, may be noticed."""


class Guard:
    """Watches the lease of the session that is being served, and attempts that were claimed ahead."""

    def __init__(self, parts: Parts, serving: Callable[[], Serving | None]) -> None:
        self._parts = parts
        self._serving = serving

    def run(self, stopped: threading.Event) -> None:
        """Until the agent has stopped."""
        fenced: Session | None = None
        while not stopped.wait(GUARD_EVERY):
            serving = self._serving()
            if serving is None or not serving.session.lease.over or serving.session.over.is_set():
                fenced = None
            else:
                self._fence(serving, again=serving.session is fenced)
                fenced = serving.session
            for attempt in self._parts.slots.held_up():
                self._parts.settlement.release(attempt, "claimed ahead, and no slot became free")

    def _fence(self, serving: Serving, *, again: bool) -> None:
        """The lease is over: from now on another node may have our jobs, so none may go on running here."""
        runs = self._parts.attempts.open()
        for attempt in runs:
            self._parts.stopper.stop(attempt, Stop.LOST, "lease over")
        if not again:
            LOG.error("lease_over", runs_killed=len(runs))
            # After a suspend the heartbeat may still be in the pause that it began before.
            serving.heartbeat.poke()
        # Beats may still reach the broker and only their answers be lost: what a claim brought must not wait for us.
        serving.claimer.give_up()
