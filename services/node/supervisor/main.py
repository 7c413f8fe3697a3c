"""Keeps sandrun and the agent together: both run, or the container ends.

On SIGTERM the agent drains first, and sandrun is stopped when the agent is gone. When either ends by itself the other
one is stopped, and the exit status says that something went wrong: the container's restart policy does the rest.
"""

import os
import signal
import time
from collections.abc import Sequence

from supervisor import environment
from supervisor.children import Child, python, reap
from supervisor.health import HangWatch
from supervisor.log import log

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNALS = (*STOP_SIGNALS, signal.SIGCHLD)
TICK = 1.0
DEFAULT_PORT = 8443
DEFAULT_DRAIN = 20.0  # the agent's default of NODE_DRAIN_SECONDS
# What the agent gets beyond its drain time before it is killed, unless NODE_LEAVE_SECONDS says otherwise. It is told,
# and plans its end by it. With sandrun's two seconds and the default drain time the sum stays under the 30 s of the
# bundle's stop_grace_period.
DEFAULT_LEAVE = 7.0
SANDRUN_STOP = 2.0
FAILED = 1


class Supervisor:
    """Runs the two children until both have ended."""

    def __init__(self, sandrun: Child, agent: Child, watch: HangWatch, agent_seconds: float) -> None:
        self._sandrun = sandrun
        self._agent = agent
        self._watch = watch
        self._agent_seconds = agent_seconds
        self._asked = False

    def run(self) -> int:
        """Watch both; the exit status of the container."""
        agent_deadline: float | None = None
        while self._agent.running:
            told = self._wait(TICK)
            if told is not None:
                self._asked = True
                # A second signal goes to the agent as well: it hurries.
                self._agent.send(signal.SIGTERM)
            elif not self._asked and self._sandrun.running and self._watch.hangs():
                log("error", "sandrun_hangs", note="killed; the container ends")
                self._sandrun.send(signal.SIGKILL)
            if agent_deadline is None and (self._asked or not self._sandrun.running):
                agent_deadline = time.monotonic() + self._agent_seconds
                if not self._asked:
                    log("error", "sandrun_ended", code=self._sandrun.code, note="the agent is told to leave")
                    self._agent.send(signal.SIGTERM)
            if agent_deadline is not None and time.monotonic() > agent_deadline:
                log("error", "agent_overdue", note="killed")
                self._agent.send(signal.SIGKILL)
        code = self._exit_code()
        self._stop_sandrun()
        log("info", "stopped", code=code)
        return code

    def _exit_code(self) -> int:
        """0 only for a drain that was asked for and went well."""
        code = self._agent.code or 0
        if not self._sandrun.running and not self._asked:
            return FAILED
        if self._asked:
            if code == -signal.SIGTERM:
                return 0  # it had just been started and did not listen yet, so it had nothing to drain
            return FAILED if code < 0 else code
        return code if code > 0 else FAILED

    def _stop_sandrun(self) -> None:
        """Nothing runs in it any more: two seconds are plenty."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._sandrun.send(number)
            deadline = time.monotonic() + SANDRUN_STOP
            while self._sandrun.running and (left := deadline - time.monotonic()) > 0:
                self._wait(left)

    def _wait(self, seconds: float) -> int | None:
        """Wait for a signal; the number of one that asks to stop."""
        taken = signal.sigtimedwait(SIGNALS, seconds)
        reap((self._sandrun, self._agent))
        # Not every number is a signal: after SIGSTOP and SIGCONT, CPython returns uninitialised memory if the time was
        # up meanwhile.
        if taken is None or taken.si_signo not in STOP_SIGNALS:
            return None
        log("info", "signal", number=taken.si_signo, again=self._asked)
        return taken.si_signo


def main(sandrun_command: Sequence[str] | None = None, agent_command: Sequence[str] | None = None) -> int:
    """Start both and stay with them. The commands can be others for tests."""
    port = _number("SANDRUN_PORT", DEFAULT_PORT)
    drain = _number("NODE_DRAIN_SECONDS", DEFAULT_DRAIN)
    leave = _number("NODE_LEAVE_SECONDS", DEFAULT_LEAVE)
    # Waited for, not handled: between two looks nothing can happen unseen. Blocked before the first child can end.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sandrun = Child("sandrun", sandrun_command or python("sandrun"), environment.for_sandrun(os.environ, int(port)))
    agent = Child("agent", agent_command or python("agent"), environment.for_agent(os.environ, int(port), leave))
    return Supervisor(sandrun, agent, HangWatch(int(port)), drain + leave).run()


def _number(name: str, default: float) -> float:
    """A setting of a child that matters here too; the child itself complains about one that is none."""
    try:
        return float(os.environ.get(name) or default)
    except ValueError:
        return default
