"""The jobs that this node knows, and how long it keeps what is left of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from operator import itemgetter

from sandrun.jobs.job import Job

__all__ = ["JobStore"]

#: Whoever waits for a job's end gets this long to fetch its result, unless there is far too much to keep.
GRACE_SECONDS = 10.0
FAR_TOO_MUCH = 2


class JobStore:
    """Jobs by id. A finished job goes when its time to live is over, or earlier when there is too much to keep."""

    def __init__(
        self, ttl: float, most_jobs: int, most_bytes: int, discard: Callable[[Job], None], *, most_stored: int
    ) -> None:
        self._ttl = ttl
        self._most_jobs = most_jobs
        self._most_bytes = most_bytes  # of output, in memory
        self._most_stored = most_stored  # of files, on disk
        self._discard = discard
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Remember a job."""
        with self._lock:
            self._jobs[job.id] = job

    def get(self, job_id: str) -> Job | None:
        """The job, or None when it never was or has been forgotten."""
        return self._jobs.get(job_id)

    def forget(self, job: Job) -> None:
        """Drop a job and its data now."""
        with self._lock:
            known = self._jobs.pop(job.id, None)
        if known is not None:
            self._discard(job)

    def of_client(self, client: str) -> Iterator[Job]:
        """Jobs of one client that have not ended."""
        with self._lock:
            jobs = list(self._jobs.values())
        return (job for job in jobs if job.client == client and not job.status.terminal)

    def sweep(self, now: float) -> int:
        """Forget what is over its time (`now` is monotonic) or too much; returns how many jobs went."""
        with self._lock:
            jobs = list(self._jobs.values())
        ended = sorted(((job.finished, job) for job in jobs if job.finished is not None), key=itemgetter(0))
        kept = sum(job.kept_bytes for _, job in ended)
        stored = sum(job.stored_bytes for _, job in ended)
        count = len(ended)
        gone = 0
        for finished, job in ended:
            age = now - finished
            too_much = count > self._most_jobs or kept > self._most_bytes or stored > self._most_stored
            far_too_much = kept > FAR_TOO_MUCH * self._most_bytes or stored > FAR_TOO_MUCH * self._most_stored
            if age <= self._ttl and not far_too_much and not (too_much and age > GRACE_SECONDS):
                break
            count -= 1
            kept -= job.kept_bytes
            stored -= job.stored_bytes
            self.forget(job)
            gone += 1
        return gone
