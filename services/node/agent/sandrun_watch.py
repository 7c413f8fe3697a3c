"""Knows whether sandrun lives: asks `/health` every two seconds, and at once when a run met trouble.

While it is down the node claims nothing. A crash is noticed by the first refused call, a hang by two silent checks.
"""

import threading
import time
from collections.abc import Callable

from agent.backoff import Backoff
from agent.description import Description
from agent.errors import SandrunGoneError
from agent.logs import EventLog
from agent.sandrun_client import SandrunClient

LOG = EventLog("agent.sandrun_watch")

HEALTH_EVERY = 2.0
RETRY_CAP = 1.0  # it is next door: asking costs nothing, and a node that starts should not lose seconds here
LOOK_EVERY = 10.0  # between two looks at `GET /` of one that is up
SILENT_CHECKS = 2  # one slow answer on a loaded machine is no hang


class SandrunWatch:
    """`up` and `description` are what everybody else goes by."""

    def __init__(
        self,
        sandrun: SandrunClient,
        *,
        retry_cap: float,
        on_up: Callable[[Description], None],
        on_down: Callable[[str], None],
    ) -> None:
        self._sandrun = sandrun
        self._retry_cap = retry_cap
        self._on_up = on_up
        self._on_down = on_down
        self._up = threading.Event()
        self._poke = threading.Event()
        self._reported_down = False
        self._seen = False
        self._look_at = 0.0
        self.description = Description()

    @property
    def up(self) -> bool:
        """Whether sandrun answered when it was last asked."""
        return self._up.is_set()

    def wait_up(self, timeout: float) -> bool:
        """Wait until it is up; False when the time is up first."""
        return self._up.wait(timeout)

    def suspect(self, reason: str) -> None:
        """A call to it failed: nothing is claimed until a check went well, and that is made now."""
        if self._up.is_set():
            LOG.warning("sandrun_suspect", reason=reason)
        self._up.clear()
        self._poke.set()

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        backoff = Backoff(0.1, min(RETRY_CAP, self._retry_cap))
        silent = 0
        while not stop.is_set():
            self._poke.clear()
            try:
                self._sandrun.health()
                if not self.up or not self.description.ready:
                    self._came_up()
                else:
                    self._look_again()
                silent = 0
                backoff.reset()
                pause = HEALTH_EVERY
            except SandrunGoneError as error:
                # A refused connection is certain; silence may only be load.
                silent = silent + 1 if error.sent else max(silent + 1, SILENT_CHECKS)
                pause = backoff.next()
                if silent >= SILENT_CHECKS:
                    self._is_down(str(error))
            self._poke.wait(pause)

    def _look_again(self) -> None:
        """One that was replaced between two checks is noticed by what it says of itself."""
        if time.monotonic() < self._look_at or self.description.foreign:
            return
        self._look_at = time.monotonic() + LOOK_EVERY
        try:
            self._came_up()
        except SandrunGoneError as error:
            LOG.warning("not_described", error=str(error))

    def _came_up(self) -> None:
        found = self._sandrun.describe()
        self._look_at = time.monotonic() + LOOK_EVERY
        if found == self.description and self.up:
            return
        self.description = found
        self._seen = True
        LOG.info(
            "sandrun_up",
            version=found.version,
            foreign=found.foreign,
            isolation=found.isolation,
            interpreters=sorted(found.interpreters),
            extensions=sorted(found.extensions),
        )
        if not found.ready:
            LOG.error("sandrun_unavailable", problem=found.problem, note="no job is offered for this node until it is")
        self._reported_down = False
        self._on_up(self.description)
        self._up.set()

    def _is_down(self, reason: str) -> None:
        self._up.clear()
        if not self._reported_down:
            self._reported_down = True
            if self._seen:
                LOG.error("sandrun_down", reason=reason)
            else:
                LOG.info("sandrun_awaited", reason=reason)
            self._on_down(reason)
