"""Where collected files live on this node until their job is forgotten."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sandrun.jobs.job import Job
from sandrun.outputs.collect import CollectLimits, collect
from sandrun.outputs.patterns import matcher
from sandrun.sandbox.launcher import Sandbox

__all__ = ["OutputStore"]


class OutputStore:
    """A directory for each job that left files."""

    def __init__(self, directory: Path, limits: CollectLimits) -> None:
        self._directory = directory
        self._limits = limits
        self._lock = threading.Lock()
        self._readers: Counter[str] = Counter()
        self._forgotten: set[str] = set()

    def prepare(self) -> None:
        """Make the directory, empty: what an earlier run left has no job any more."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o700, parents=True)

    def collect(self, job: Job, sandbox: Sandbox) -> None:
        """Keep the job's outputs. Called by its slot when every process of the sandbox is dead."""
        patterns = job.manifest.outputs
        collection = collect(
            sandbox.job_fd,
            self._directory / job.id,
            matcher(patterns) if patterns else lambda path: True,
            {} if patterns else {file.path: file.data for file in job.files if file.link is None},
            self._limits,
        )
        job.collected = collection.files
        job.collect_notes = collection.notes()
        job.dropped = collection.dropped

    @contextlib.contextmanager
    def reading(self, job: Job) -> Iterator[None]:
        """Keep the job's files where they are, even if it is forgotten meanwhile."""
        with self._lock:
            self._readers[job.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers[job.id] -= 1
                last = not self._readers[job.id]
                if last:
                    del self._readers[job.id]
                forgotten = last and job.id in self._forgotten
                self._forgotten -= {job.id} if forgotten else set()
            if forgotten:
                self._delete(job)

    def discard(self, job: Job) -> None:
        """Delete a job's files, when the last who reads them has done."""
        if not job.collected:
            return
        with self._lock:
            if self._readers[job.id]:
                self._forgotten.add(job.id)
                return
            del self._readers[job.id]
        self._delete(job)

    def _delete(self, job: Job) -> None:
        shutil.rmtree(self._directory / job.id, ignore_errors=True)
