"""One job: what was asked, where it stands, what came of it, and who waits for news of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandrun.jobs.manifest import Manifest
from sandrun.jobs.news import News
from sandrun.outputs.collected import CollectedFile, Dropped
from sandrun.sandbox.launcher import Measure
from sandrun.sandbox.output import OutputBuffer
from sandrun.sandbox.spec import InputFile, Outcome

__all__ = ["Job", "JobStatus", "new_job_id"]


class JobStatus(StrEnum):
    """The four words of the HTTP API."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"  #: exit code 0 and no limit hit
    FAILED = "failed"  #: anything else; `outcome.failure` says why

    @property
    def terminal(self) -> bool:
        """Whether nothing changes any more."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


def new_job_id() -> str:
    """An id that nobody can guess: whoever knows it may read the job's results (there is no other key)."""
    return f"job_{secrets.token_hex(16)}"


@dataclass(slots=True, eq=False)
class Job:
    """Written by the slot that runs it (and by whoever cancels it); read by the HTTP side, which waits for its news."""

    id: str
    client: str
    manifest: Manifest
    entrypoint: str
    interpreter: str
    job_hash: str
    files: Sequence[InputFile]
    created: float = field(default_factory=time.time)
    status: JobStatus = JobStatus.QUEUED
    outcome: Outcome | None = None
    collected: dict[str, CollectedFile] = field(default_factory=dict)
    collect_notes: list[str] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    signature: str | None = None
    finished: float | None = None  #: monotonic, for the time to live
    stdout: OutputBuffer = field(init=False)
    stderr: OutputBuffer = field(init=False)
    input_bytes: int = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cancel_fd: int = -1
    _cancelled: bool = False
    request: str = ""  #: id of the call that submitted it, for the log
    submit_request: str = ""  #: id of the request that this call was made for, if it said
    evicted: str | None = None  #: why the node itself ended the job, if it did
    memory_now: int = 0  #: bytes, by the last sample
    standing: News = field(default_factory=News)  #: of the status
    progress: News = field(default_factory=News)  #: of the status and of output

    def __post_init__(self) -> None:
        keep = self.manifest.limits.output_keep_bytes
        self.stdout, self.stderr = OutputBuffer(keep), OutputBuffer(keep)
        self.input_bytes = sum(len(file.data) for file in self.files) + len(self.manifest.stdin)

    @property
    def facts(self) -> dict[str, Any]:
        """What a log line says of it."""
        named = {"submit_request": self.submit_request} if self.submit_request else {}
        return {"job": self.id, "request": self.request, **named}

    # Cancelling

    def open_cancel(self) -> int:
        """The descriptor that becomes readable when the job is cancelled. The slot calls `close_cancel` afterwards."""
        with self._lock:
            self._cancel_fd = os.eventfd(1 if self._cancelled else 0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            return self._cancel_fd

    def close_cancel(self) -> None:
        """No more cancelling: the job is ending."""
        with self._lock:
            if self._cancel_fd >= 0:
                os.close(self._cancel_fd)
            self._cancel_fd = -1

    def cancel(self) -> None:
        """Ask for the end of the job. Harmless at any time."""
        with self._lock:
            self._cancelled = True
            if self._cancel_fd >= 0:
                os.eventfd_write(self._cancel_fd, 1)

    def evict(self, reason: str) -> None:
        """End the job for the node's sake: that is no result, and another node may run it."""
        self.evicted = self.evicted or reason
        self.cancel()

    def sampled(self, measure: Measure) -> None:
        """Take the supervisor's latest sample."""
        self.memory_now = measure.memory_bytes

    # News

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say on which loop the waiters live, before the job can make news."""
        self.progress.attach(loop)
        self.standing.attach(loop)

    def announce(self) -> None:
        """The job's status has changed. Called from any thread."""
        self.standing.announce()
        self.progress.announce()

    async def ended(self, seconds: float) -> bool:
        """Wait until the job is terminal, at most so many seconds; returns whether it is."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.standing.version
            left = deadline - time.monotonic()
            if self.status.terminal or left <= 0:
                return self.status.terminal
            await self.standing.changed(seen, left)

    @property
    def kept_bytes(self) -> int:
        """Memory that the finished job's output takes."""
        keep = self.manifest.limits.output_keep_bytes
        return min(self.stdout.total, keep) + min(self.stderr.total, keep)

    @property
    def stored_bytes(self) -> int:
        """Disk that the finished job's files take."""
        return sum({file.stored: file.size for file in self.collected.values()}.values())
