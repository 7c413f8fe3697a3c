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
        """Run `work` in a daemon thread."""
        thread = threading.Thread(target=self.guard(work), name=name, daemon=True)
        thread.start()
        return thread


class Pool:
    """Runs tasks on up to `size` threads, started when first needed. The queue's length is bounded by its callers."""

    def __init__(self, name: str, size: int, crash: Crash) -> None:
        self._name = name
        self._size = size
        self._crash = crash
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._started = 0

    def run(self, task: Callable[[], None]) -> None:
        """Have the task done by the next free thread."""
        with self._lock:
            self._waiting += 1
            if self._waiting > self._started and self._started < self._size:
                self._started += 1
                self._crash.spawn(f"{self._name}-{self._started}", self._work)
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            task()
            with self._lock:
                self._waiting -= 1
