"""Waiting for a submitted job: until its program starts, and until it has ended, however little the sandrun helps.

The time that a job may take counts from its start: a sandrun may keep it waiting for a slot or for memory first.
"""

import time
from typing import Any

from agent.attempts import Attempt
from agent.description import Description
from agent.errors import SandrunSilentError
from agent.sandrun_client import CALL_TIMEOUT, STATUS_WAIT, SandrunClient
from agent.verdict import ENDED

Status = dict[str, Any]

POLL_FIRST, POLL_LAST = 0.05, 1.0
QUEUE_LOOK = 1.0  # between two looks at a job that waits inside sandrun


class Waiter:
    """Asks one sandrun about its jobs."""

    def __init__(self, sandrun: SandrunClient) -> None:
        self._sandrun = sandrun

    def started(self, attempt: Attempt, patience: float) -> bool:
        """Wait until the job does not wait inside sandrun any more; False when it still does after `patience` seconds.

        True also when the attempt was settled meanwhile. For a sandrun with the extension `wait`.
        """
        deadline = time.monotonic() + patience
        while not attempt.settled and (left := deadline - time.monotonic()) > 0:
            query = f"?wait={min(QUEUE_LOOK, left):.1f}"
            if self._sandrun.status(str(attempt.sandrun_id), CALL_TIMEOUT, query).get("status") != "queued":
                return True
        return attempt.settled

    def ended(self, attempt: Attempt, allowed: float, description: Description) -> Status | None:
        """The status of the ended job; None when `allowed` seconds since its start are over, or it was settled."""
        if description.can("wait"):
            return self._by_long_polls(attempt, allowed, with_logs=description.can("result"))
        return self._by_polls(attempt, allowed)

    def _by_long_polls(self, attempt: Attempt, allowed: float, *, with_logs: bool) -> Status | None:
        deadline = time.monotonic() + allowed
        logs = "&logs=true" if with_logs else ""
        while not attempt.settled and (left := deadline - time.monotonic()) > 0:
            wait = max(1, min(STATUS_WAIT, int(left)))
            query = f"?wait={wait}{logs}"
            status = self._sandrun.status(str(attempt.sandrun_id), wait + CALL_TIMEOUT, query)
            if status.get("status") in ENDED:
                return status
            if status.get("status") == "queued":
                deadline = time.monotonic() + allowed
        return None

    def _by_polls(self, attempt: Attempt, allowed: float) -> Status | None:
        """From a sandrun that cannot wait; its status may block for as long as any job runs."""
        deadline = time.monotonic() + allowed
        pause = POLL_FIRST
        while not attempt.settled and (left := deadline - time.monotonic()) > 0:
            try:
                status = self._sandrun.status(str(attempt.sandrun_id), left)
            except SandrunSilentError:
                return None  # it was still blocked when the job's time was up
            if status.get("status") in ENDED:
                return status
            if status.get("status") == "queued":
                deadline = time.monotonic() + allowed
            attempt.ended.wait(min(pause, left))
            pause = min(POLL_LAST, pause * 1.5)
        return None
