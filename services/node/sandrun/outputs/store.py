"""Where collected files live on this node until their job is forgotten."""

from __future__ import annotations

import secrets
import shutil
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

    def spool_file(self, name: str) -> Path:
        """A path for a file that lives for one answer. `prepare` deletes what a crash left."""
        return self._directory / f"{secrets.token_hex(8)}-{name}"

    def discard(self, job: Job) -> None:
        """Delete a job's files."""
        if job.collected:
            shutil.rmtree(self._directory / job.id, ignore_errors=True)
