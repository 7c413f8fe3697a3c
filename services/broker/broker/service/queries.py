"""What clients ask: status, results, lists."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from broker.clock import Clock
from broker.domain.words import JobStatus
from broker.errors import GoneError, InvalidFieldError, NotFoundError
from broker.service.sessions import NodeSession, SessionBook
from broker.service.waits import EndWaits
from broker.settings import Settings
from broker.store.base import Store
from broker.store.records.attempt import Attempt
from broker.store.records.job import Job, JobFilter, JobInput, Result

__all__ = ["Queries"]

Found = TypeVar("Found", Job, Result, JobInput)

MAX_BATCH_CHARS = 32 * 1024 * 1024
"""Output in one answer to /results/batch."""

_ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)


class Queries:
    """Answers about jobs and nodes."""

    def __init__(self, store: Store, book: SessionBook, waits: EndWaits, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._book = book
        self._waits = waits
        self._clock = clock
        self._settings = settings

    async def job(self, job_id: str, wait: float = 0) -> Job:
        """The job, as soon as it has ended or `wait` seconds are over. NotFoundError, GoneError."""
        return await self._look(job_id, self._store.job, lambda job: job, wait)

    async def result(self, job_id: str, wait: float = 0) -> Result:
        """The job with its output, under the same terms; it may not have ended. NotFoundError, GoneError."""
        return await self._look(job_id, self._store.result, lambda result: result.job, wait)

    async def results(self, job_ids: Sequence[str], owner: str | None = None) -> list[Result | None]:
        """Several results; None for what is unknown, deleted, or not this owner's (None: whosever)."""
        if len(job_ids) > self._settings.max_batch:
            raise InvalidFieldError(
                "job_ids", f"at most {self._settings.max_batch} results can be asked for at a time."
            )
        found: list[Result | None] = []
        size = 0
        for job_id in job_ids:
            if size > MAX_BATCH_CHARS:
                raise InvalidFieldError("job_ids", f"the results of the first {len(found)} are enough for one answer.")
            result = await self._store.result(job_id)
            if result is not None and (self._expired(result.job) or owner not in (None, result.job.owner)):
                result = None
            size += len(result.output) + len(result.error) if result else 0
            found.append(result)
        return found

    async def job_input(self, job_id: str) -> JobInput:
        """What was submitted. NotFoundError, GoneError."""
        return await self._present(job_id, self._store.job_input, lambda found: found.job)

    async def attempts(self, job_id: str) -> list[Attempt]:
        """The attempts of a job, oldest first."""
        return await self._store.attempts(job_id)

    async def list_jobs(self, wanted: JobFilter) -> tuple[list[Job], int | None]:
        """A page of jobs, newest first, and the next page's cursor."""
        return await self._store.list_jobs(wanted)

    async def nodes(self) -> list[tuple[NodeSession, int, int]]:
        """Every known node with its completed and failed jobs."""
        counters = await self._store.node_counters()
        return [(session, *counters.get(session.node_id, (0, 0))) for session in self._book]

    def is_alive(self, session: NodeSession) -> bool:
        """Whether the node's lease holds."""
        return session.alive(self._clock.now())

    async def _look(
        self, job_id: str, read: Callable[[str], Awaitable[Found | None]], job_of: Callable[[Found], Job], wait: float
    ) -> Found:
        if wait <= 0:
            return await self._present(job_id, read, job_of)
        ended = self._waits.begin(job_id)  # before the first look, so that no end is missed
        try:
            found = await self._present(job_id, read, job_of)
            if job_of(found).status in _ENDED:
                return found
            await asyncio.wait((ended,), timeout=wait)
            return await self._present(job_id, read, job_of)
        finally:
            self._waits.end(job_id, ended)

    async def _present(
        self, job_id: str, read: Callable[[str], Awaitable[Found | None]], job_of: Callable[[Found], Job]
    ) -> Found:
        found = await read(job_id)
        if found is not None and not self._expired(job_of(found)):
            return found
        if found is not None or await self._store.was_deleted(job_id):
            raise GoneError
        raise NotFoundError

    def _expired(self, job: Job) -> bool:
        return job.expires_at is not None and job.expires_at <= self._clock.now()
