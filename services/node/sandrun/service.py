"""The service without HTTP: takes uploads, queues jobs, answers for them. Everything is put together here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from loglines import REQUEST_ID, SUBMIT_REQUEST, EventLog
from sandrun.archive import UnpackLimits
from sandrun.identity import Identity, signed_text
from sandrun.jobs.guard import MemoryGuard
from sandrun.jobs.hashing import job_hash
from sandrun.jobs.job import Job, new_job_id
from sandrun.jobs.manifest import choose_entrypoint, choose_interpreter, parse_manifest
from sandrun.jobs.pool import SlotPool
from sandrun.jobs.rates import Quota, RateLimiter
from sandrun.jobs.runner import JobRunner
from sandrun.jobs.store import JobStore
from sandrun.jobs.uploads import UploadedPart, UploadError, embedded_manifest, job_files
from sandrun.outputs.collect import CollectLimits
from sandrun.outputs.store import OutputStore
from sandrun.platform import Platform
from sandrun.sandbox import kernel
from sandrun.sandbox.container import ContainerMemory
from sandrun.sandbox.spec import MIB, Outcome
from sandrun.settings import Settings

__all__ = ["Service", "UnavailableError"]

log = EventLog(__name__)

STOP_SECONDS = 10.0
SWEEP_SECONDS = 5.0
SWEEP_FROM_BYTES = MIB
UNPACKING_AT_ONCE = 2  # each may hold the largest upload twice
INLINE_BYTES = 64 * 1024  # an upload this small without archives is checked on the event loop


class UnavailableError(Exception):
    """This node runs no jobs now. The text says why and what mends it."""


class Service:
    """One node's executor. Its coroutines belong to one event loop; jobs run on the slots' threads."""

    def __init__(self, settings: Settings, platform: Platform, identity: Identity | None, directory: Path) -> None:
        self.settings = settings
        self.platform = platform
        self.identity = identity
        self.unavailable = platform.report.refusal
        self._outputs = OutputStore(
            directory / "outputs", CollectLimits(settings.collect_files, settings.collect_bytes)
        )
        self.store = JobStore(
            settings.ttl,
            settings.retain_jobs,
            settings.retain_bytes,
            self._outputs.discard,
            most_stored=settings.retain_file_bytes,
        )
        container = ContainerMemory.find()
        self._run = JobRunner(platform.launcher, platform.interpreters, self._outputs.collect, container)
        self.pool = SlotPool(
            settings.slots,
            settings.queue,
            settings.queue_bytes,
            self._run_and_sign,
            memory_bytes=settings.memory_mb * MIB if settings.memory_mb else None,
        )
        self._guard = MemoryGuard(container, self.pool.running) if container is not None else None
        self._rates = RateLimiter(settings)
        self._unpacking = asyncio.Semaphore(UNPACKING_AT_ONCE)
        self._unpack_limits = UnpackLimits()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take jobs."""
        self._outputs.prepare()
        self.pool.start()
        if self._guard is not None:
            self._guard.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Cancel every job and give back every process, within some seconds."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.to_thread(self.pool.stop, STOP_SECONDS)
        if self._guard is not None:
            await asyncio.to_thread(self._guard.stop)

    async def submit(self, parts: Sequence[UploadedPart], manifest_text: str | None, client: str) -> tuple[Job, int]:
        """Check an upload and queue it; the job, and its place in the queue, 0 when it starts at once.

        Raises UploadError, ManifestError, RateExceededError, UnavailableError, QueueFullError or PoolClosedError.
        """
        if self.unavailable is not None:
            raise UnavailableError(self.unavailable)
        self._rates.check(client, self.active_jobs(client), time.monotonic())
        job = await self._checked(parts, manifest_text, client)
        job.attach(asyncio.get_running_loop())
        job.request, job.submit_request = REQUEST_ID.get(), SUBMIT_REQUEST.get()
        place = self.pool.submit(job)
        self.store.add(job)
        log.debug("job was submitted", job=job.id, interpreter=job.interpreter)
        self._rates.submitted(client, time.monotonic())
        return job, place

    def reading(self, job: Job) -> AbstractContextManager[None]:
        """Keep a job's files where they are for the time of the context."""
        return self._outputs.reading(job)

    def quota(self, client: str) -> Quota:
        """Where a client stands with its rate limits."""
        return self._rates.quota(client, self.active_jobs(client), time.monotonic())

    def active_jobs(self, client: str) -> int:
        """Jobs of a client that have not ended."""
        return sum(1 for _ in self.store.of_client(client))

    async def cancel(self, job: Job, wait_seconds: float) -> None:
        """End a job and wait, at most so long, until it has ended."""
        self.pool.cancel(job)
        await job.ended(wait_seconds)

    async def _checked(self, parts: Sequence[UploadedPart], manifest_text: str | None, client: str) -> Job:
        small = sum(part.size for part in parts) <= INLINE_BYTES
        if small and not any(part.filename.lower().endswith(("gz", "zip", "tar")) for part in parts):
            return self._build(parts, manifest_text, client)
        async with self._unpacking:
            return await asyncio.to_thread(self._build, parts, manifest_text, client)

    def _build(self, parts: Sequence[UploadedPart], manifest_text: str | None, client: str) -> Job:
        files = job_files(parts, self._unpack_limits)
        if manifest_text is None:
            manifest_text = embedded_manifest(files) or "{}"
        manifest = parse_manifest(manifest_text, self.settings)
        entrypoint = choose_entrypoint(manifest, [file.path for file in files])
        interpreter = choose_interpreter(manifest, entrypoint, self.platform.interpreters)
        program = next(file for file in files if file.path == entrypoint)
        if program.link is not None:
            raise UploadError(f"the entrypoint {entrypoint!r} is a link")
        return Job(
            id=new_job_id(),
            client=client,
            manifest=manifest,
            entrypoint=entrypoint,
            interpreter=interpreter,
            job_hash=job_hash(entrypoint, interpreter, "", manifest.args, program.data),
            files=files,
        )

    def _run_and_sign(self, job: Job) -> Outcome:
        outcome = self._run(job)
        if job.kept_bytes + job.stored_bytes > SWEEP_FROM_BYTES:
            self.store.sweep(time.monotonic())  # the space is needed now, not in five seconds
        job.standing.call_loop(self._rates.used, job.client, outcome.cpu_seconds, time.monotonic())
        if self.identity is not None:
            hashes = {path: file.sha256 for path, file in job.collected.items()}
            memory_mb = outcome.memory_peak_bytes // MIB
            text = signed_text(job.job_hash, outcome.exit_code, outcome.cpu_seconds, memory_mb, hashes)
            job.signature = self.identity.sign(text)
        return outcome

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await asyncio.to_thread(self.store.sweep, time.monotonic())
            await asyncio.to_thread(kernel.give_back_memory)
            if left := kernel.leftovers.reap():
                log.error("processes of ended sandboxes do not end", count=left)
