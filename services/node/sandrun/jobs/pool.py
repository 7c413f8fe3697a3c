"""The slots: permanent threads that take jobs from a bounded queue and run one at a time each.

Permanent, because the kernel kills a sandbox when the thread that started it ends (bubblewrap's --die-with-parent is
tied to the thread, not to the process).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from loglines import EventLog
from sandrun.jobs.job import Job, JobStatus
from sandrun.sandbox.spec import Failure, Outcome

__all__ = ["PoolClosedError", "QueueFullError", "SlotPool"]

STOPPING = "the node is stopping"

log = EventLog(__name__)


class QueueFullError(Exception):
    """Too many jobs, or too many uploaded bytes, are waiting already."""


class PoolClosedError(Exception):
    """The service is stopping and takes no more jobs."""


class SlotPool:
    """Runs jobs in arrival order on `slots` threads. Thread-safe.

    The memory limits of the jobs that run at once add up to at most `memory_bytes` (None: no bound); the job that is
    next waits until it fits, so that jobs within their own limits cannot together exhaust the node.
    """

    def __init__(
        self,
        slots: int,
        queue_jobs: int,
        queue_bytes: int,
        run: Callable[[Job], Outcome],
        memory_bytes: int | None = None,
    ) -> None:
        self._run = run
        self._memory_bytes = memory_bytes
        self._queue_jobs = queue_jobs
        self._queue_bytes = queue_bytes
        self._condition = threading.Condition()
        self._queue: deque[Job] = deque()
        self._waiting_bytes = 0
        self._running: set[Job] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"slot-{number}", daemon=True) for number in range(slots)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> int:
        """Queue a job; its place in the queue, 0 when it starts at once. Raises QueueFullError or PoolClosedError; the
        job is untouched then.

        A job that a free slot takes at once does not count against the queue's length.
        """
        with self._condition:
            if self._closed:
                raise PoolClosedError
            waiting = len(self._queue) - self._free()
            if waiting >= self._queue_jobs or self._waiting_bytes + job.input_bytes > self._queue_bytes:
                raise QueueFullError
            self._queue.append(job)
            self._waiting_bytes += job.input_bytes
            self._condition.notify()
            return len(self._queue) - self._starting()

    def cancel(self, job: Job) -> None:
        """End a job that waits or runs; harmless when it has ended."""
        with self._condition:
            waiting = job in self._queue
            if waiting:
                self._queue.remove(job)
                self._waiting_bytes -= job.input_bytes
        if waiting:
            self._finish(job, Outcome(failure=Failure.CANCELLED))
        else:
            job.cancel()

    def position(self, job: Job) -> int:
        """How many jobs are before this one, itself included; 0 when it does not wait."""
        with self._condition:
            try:
                return self._queue.index(job) + 1
            except ValueError:
                return 0

    def counts(self) -> tuple[int, int]:
        """Jobs that wait, and jobs that run."""
        with self._condition:
            return len(self._queue), len(self._running)

    def free(self) -> int:
        """Slots that would take a job at once."""
        with self._condition:
            return max(0, self._free() - len(self._queue))

    @property
    def slots(self) -> int:
        """Jobs that can run at once."""
        return len(self._threads)

    def running(self) -> list[Job]:
        """The jobs that run now."""
        with self._condition:
            return list(self._running)

    def stop(self, deadline_seconds: float) -> None:
        """Take no more jobs, end what waits and runs, and wait for the threads to end, within the deadline.

        The jobs end with `platform`: nobody asked for their end, and another node may run them.
        """
        with self._condition:
            self._closed = True
            waiting, running = list(self._queue), list(self._running)
            self._queue.clear()
            self._waiting_bytes = 0
            self._condition.notify_all()
        for job in waiting:
            self._finish(job, Outcome(failure=Failure.PLATFORM, message=STOPPING))
        for job in running:
            job.evict(STOPPING)
        deadline = time.monotonic() + deadline_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _may_start(self) -> bool:
        """Whether the next job's memory fits beside what runs. The first always does."""
        if not self._queue:
            return False
        if self._memory_bytes is None or not self._running:
            return True
        promised = sum(job.manifest.limits.memory_bytes for job in self._running)
        return promised + self._queue[0].manifest.limits.memory_bytes <= self._memory_bytes

    def _starting(self) -> int:
        """How many of the queue start at once: threads that were woken have not taken their jobs yet."""
        promised = sum(job.manifest.limits.memory_bytes for job in self._running)
        starting = 0
        for job in itertools.islice(self._queue, self._free()):
            promised += job.manifest.limits.memory_bytes
            if self._memory_bytes is not None and promised > self._memory_bytes and (self._running or starting):
                break
            starting += 1
        return starting

    def _free(self) -> int:
        return len(self._threads) - len(self._running)

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._may_start() and not (self._closed and not self._queue):
                    self._condition.wait()
                if not self._queue:
                    return
                job = self._queue.popleft()
                self._waiting_bytes -= job.input_bytes
                self._running.add(job)
            job.status = JobStatus.RUNNING
            job.announce()
            log.info("job started", **job.facts)
            try:
                outcome = self._run(job)
            except Exception:
                log.crash("running a job failed", **job.facts)
                outcome = Outcome(failure=Failure.PLATFORM, message="the node failed while it ran the job; see its log")
            with self._condition:
                self._running.discard(job)
                self._condition.notify_all()
            self._finish(job, outcome)

    @staticmethod
    def _finish(job: Job, outcome: Outcome) -> None:
        job.files = ()
        job.outcome = outcome
        job.finished = time.monotonic()
        job.status = JobStatus.COMPLETED if outcome.failure is None else JobStatus.FAILED
        job.announce()
        log.info("job ended", **job.facts, failure=outcome.failure, exit_code=outcome.exit_code)
