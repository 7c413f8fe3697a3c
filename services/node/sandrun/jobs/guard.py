"""The last line behind the jobs' own limits: when the container runs out of memory, one job goes, not the service.

Needed where the limits are measured, not enforced: between two samples several jobs may overshoot at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loglines import EventLog
from sandrun.jobs.job import Job
from sandrun.sandbox.container import ContainerMemory

__all__ = ["MemoryGuard"]

log = EventLog(__name__)

INTERVAL_SECONDS = 0.05
#: Beyond this share of the container's memory the largest job ends. Below it the kernel would choose, later and harder.
DANGER_SHARE = 0.92
#: After an eviction the memory needs a moment to come back before the next is judged.
PAUSE_SECONDS = 0.25

EVICTED = "the node ran out of memory and ended its largest job, which was within its own limit"


class MemoryGuard:
    """A thread that watches the container's memory and evicts the job that uses most."""

    def __init__(self, memory: ContainerMemory, running: Callable[[], Sequence[Job]]) -> None:
        self._memory = memory
        self._running = running
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def check(self) -> bool:
        """Look once; returns whether a job was evicted."""
        used = self._memory.used_bytes()
        if used < self._memory.limit_bytes * DANGER_SHARE:
            return False
        jobs = self._running()
        if not jobs:
            return False
        largest = max(jobs, key=lambda job: job.memory_now)
        facts = {"used_mb": used >> 20, "limit_mb": self._memory.limit_bytes >> 20}
        log.warning("memory is short: the largest job ends", **largest.facts, **facts)
        largest.evict(EVICTED)
        return True

    def _watch(self) -> None:
        pause = INTERVAL_SECONDS
        while not self._stop.wait(pause):
            pause = PAUSE_SECONDS if self.check() else INTERVAL_SECONDS
