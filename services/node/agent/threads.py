"""Starting threads so that none can die unnoticed, and a small pool for short tasks."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from agent.logs import EventLog

LOG = EventLog("agent.threads")


class Crash:
    """Remembers that some thread ended with an unexpected exception; the process then has to end."""

    def __init__(self) -> None:
        self.happened = threading.Event()

    def guard(self, work: Callable[[], None]) -> Callable[[], None]:
        """`work`, with an unexpected exception logged and remembered."""

        def guarded() -> None:
            try:
                work()
            except Exception:
                LOG.crash("thread_crashed", thread=threading.current_thread().name)
                self.happened.set()

        return guarded

    def spawn(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Run `work` in a daemon thread. RuntimeError when the system has none to give (the container's pids limit)."""
        thread = threading.Thread(target=self.guard(work), name=name, daemon=True)
        thread.start()
        return thread


class Pool:
    """Runs tasks on `size` threads. They are started at once: when a task comes, a full container may refuse a thread.
    The queue's length is bounded by its callers."""

    def __init__(self, name: str, size: int, crash: Crash) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for number in range(1, size + 1):
            crash.spawn(f"{name}-{number}", self._work)

    def run(self, task: Callable[[], None]) -> None:
        """Have the task done by the next free thread."""
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            self._tasks.get()()
