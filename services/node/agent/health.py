"""Says what is wrong with the agent, for the container's health check: a thread that writes the live file."""

import threading
from collections.abc import Callable

from agent.lease import Session
from agent.liveness import LiveFile
from agent.logs import EventLog

LOG = EventLog("agent.health")

LOOK_EVERY = 0.25  # seconds; how late a change is shown


class Health:
    """Nothing else of the agent waits for the disk that the file is on."""

    def __init__(self, live: LiveFile, sandrun_up: Callable[[], bool], session: Callable[[], Session | None]) -> None:
        self._live = live
        self._sandrun_up = sandrun_up
        self._session = session
        self._trouble = ""

    def run(self, stop: threading.Event) -> None:
        """Write the file until `stop` is set."""
        while not stop.wait(LOOK_EVERY):
            try:
                self._live.write(self.problem())
            except OSError as error:
                if self._trouble != str(error):
                    LOG.warning("live_file_not_written", error=str(error))
                self._trouble = str(error)

    def problem(self) -> str:
        """What is wrong, "" when nothing is."""
        session = self._session()
        if not self._sandrun_up():
            return "sandrun does not answer"
        if session is None or session.over.is_set():
            return "not registered at the broker"
        if session.lease.over:
            return "no good beat for longer than the lease"
        return ""
