"""Ends runs early: cancelled by their owner, lost to another node, or given back by a draining node."""

from agent.attempts import Attempt, Stop
from agent.errors import SandrunGoneError
from agent.logs import EventLog
from agent.model import cancelled
from agent.sandrun_client import SandrunClient
from agent.settlement import Settlement
from agent.threads import Crash, Pool

LOG = EventLog("agent.stopper")

# How long sandrun may take to report a cancelled job's end, which comes with its output so far.
CANCEL_GRACE = 3.0
STOPPERS = 4


class Stopper:
    """Kills in sandrun and settles, without keeping its caller waiting."""

    def __init__(self, sandrun: SandrunClient, settlement: Settlement, crash: Crash) -> None:
        self._sandrun = sandrun
        self._settlement = settlement
        # Cancels wait for the last output. Behind them no kill of a run may wait that another node may have by now.
        self._ends = Pool("stop", STOPPERS, crash)
        self._kills = Pool("kill", STOPPERS, crash)
        self.can_cancel = False
        """Whether this sandrun has the extension `cancel`; set when it has described itself."""

    def stop(self, attempt: Attempt, why: Stop, reason: str) -> None:
        """End this run. Repeating it is harmless."""
        if why is Stop.LOST:
            # At once, before the kill: from now on nothing of this attempt may be reported.
            self._settlement.drop(attempt, reason)
        if not attempt.request_stop(why):
            return
        if why is Stop.LOST:
            self._kills.run(lambda: self._kill_lost(attempt))
        else:
            self._ends.run(lambda: self._end(attempt, reason))

    def kill(self, attempt: Attempt) -> bool:
        """Have sandrun end the run. False when it cannot or does not answer."""
        if attempt.sandrun_id is None or not self.can_cancel:
            return False
        try:
            self._sandrun.cancel(attempt.sandrun_id)
        except SandrunGoneError as error:
            LOG.warning("kill_failed", **attempt.key.facts, error=str(error))
            return False
        return True

    def _kill_lost(self, attempt: Attempt) -> None:
        self.kill(attempt)

    def _end(self, attempt: Attempt, reason: str) -> None:
        killed = self.kill(attempt)
        if attempt.stop is Stop.RELEASE:
            self._settlement.release(attempt, reason)
        elif attempt.stop is Stop.CANCEL:
            # A killed run reports itself, with its output; one that is not yet submitted sees the wish; none waits for
            # a sandrun that cannot cancel.
            if killed or attempt.sandrun_id is None:
                attempt.ended.wait(CANCEL_GRACE)
            if not attempt.delivering:  # otherwise it is settled when its files are sent
                self._settlement.result(attempt, cancelled(attempt.key))
