"""The node's slots: which attempts run, which wait for a slot, and how many more the node should claim.

While jobs are short the node claims ahead, at most one attempt for each slot, so that a slot that becomes free starts
the next job without asking the broker first (docs/adr/0052). An attempt that has waited for AHEAD_PATIENCE goes back to
the queue.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from agent.attempts import Attempt
from agent.logs import EventLog
from agent.threads import Crash

LOG = EventLog("agent.slots")

# Claim ahead while runs take less than this on average: the wait behind one is then shorter than a person notices.
AHEAD_BELOW = 0.25
AHEAD_PATIENCE = 0.5
_WEIGHT = 0.2  # of the newest run in the moving average


class Slots:
    """Runs up to `total` attempts at once, each in a thread. Thread-safe."""

    def __init__(
        self,
        run: Callable[[Attempt], None],
        on_free: Callable[[], None],
        crash: Crash,
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._run = run
        self._on_free = on_free
        self._crash = crash
        self._took = took
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Attempt, float]] = deque()
        self._total = 0
        self._running = 0
        self._threads = 0
        self._average: float | None = None
        self._ahead_held_up = False

    def resize(self, total: int) -> None:
        """Run at most this many at once from now on."""
        with self._changed:
            self._total = total
            self._changed.notify_all()

    @property
    def free(self) -> int:
        """Slots for which there is no attempt yet."""
        with self._changed:
            return self._free()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Slots, attempts that run, and attempts that wait for a slot."""
        with self._changed:
            return self._total, self._running, len(self._waiting)

    @property
    def claimable(self) -> int:
        """How many attempts to claim now: for the free slots, and ahead of them when runs are short."""
        with self._changed:
            free = self._free()
            # An idle node claims for its slots only: what comes in one burst is for all nodes.
            if not self._running or self._ahead_held_up or self._average is None or self._average > AHEAD_BELOW:
                return free
            # Only when half of the line is gone: one claim for several runs.
            return self._total - len(self._waiting) + free if 2 * len(self._waiting) < self._total else 0

    def add(self, attempt: Attempt) -> None:
        """Run this as soon as there is a slot."""
        with self._changed:
            self._waiting.append((attempt, time.monotonic()))
            if self._threads < min(self._total, self._running + len(self._waiting)):
                self._start_thread()
            self._changed.notify()

    def _start_thread(self) -> None:
        try:
            self._crash.spawn(f"run-{self._threads + 1}", self._work)
        except RuntimeError as error:
            # The attempt waits for another run's thread, or goes back when it has waited too long.
            LOG.error(
                "no_thread", error=str(error), running=self._running, note="is the container's pids limit reached?"
            )
        else:
            self._threads += 1

    def withdraw(self, attempt: Attempt) -> bool:
        """Take it out of the line; False when it is not (any more) waiting for a slot."""
        with self._changed:
            for entry in self._waiting:
                if entry[0] is attempt:
                    self._waiting.remove(entry)
                    return True
            return False

    def held_up(self) -> list[Attempt]:
        """Attempts that have waited too long, taken out of the line; nothing is claimed ahead for a while."""
        limit = time.monotonic() - AHEAD_PATIENCE
        with self._changed:
            late = [entry for entry in self._waiting if entry[1] <= limit]
            for entry in late:
                self._waiting.remove(entry)
            # Until a run ends, and shows whether runs are short again.
            self._ahead_held_up = self._ahead_held_up or bool(late)
            return [attempt for attempt, _ in late]

    def _free(self) -> int:
        return max(0, self._total - self._running - len(self._waiting))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting and self._running < self._total)
                attempt, _ = self._waiting.popleft()
                self._running += 1
            began = time.monotonic()
            try:
                self._run(attempt)
            finally:
                took = time.monotonic() - began
                with self._changed:
                    self._running -= 1
                    self._average = took if self._average is None else self._average + _WEIGHT * (took - self._average)
                    self._ahead_held_up = False
                self._took(took)
            self._on_free()
