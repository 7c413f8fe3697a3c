"""Starting, signalling and reaping the two programs."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from supervisor.log import log


class Child:
    """One program in a process group of its own. `code` is None while it runs, negative for a signal that ended it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.code: int | None = None
        # The supervisor blocks the signals that it waits for; a child must start without that. Its own process group
        # keeps a terminal's Ctrl-C from it: who is told to stop, and when, is decided here.
        self.pid = os.posix_spawn(
            command[0],
            list(command),
            dict(environment),
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD),
        )
        log("info", "started", program=name, pid=self.pid)

    @property
    def running(self) -> bool:
        """Whether it has not been reaped yet."""
        return self.code is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended is not reaped elsewhere, so its pid is never somebody else's."""
        if self.running:
            os.kill(self.pid, number)


def python(module: str) -> list[str]:
    """The command line of one of this image's Python programs."""
    return [sys.executable, "-m", module]


def reap(children: Sequence[Child]) -> None:
    """Take note of every child that has ended, and bury strangers (this may be process 1)."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for child in children:
            if child.pid == pid:
                child.code = os.waitstatus_to_exitcode(status)
                log("info", "ended", program=child.name, code=child.code)
