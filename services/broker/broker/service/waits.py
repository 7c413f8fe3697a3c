"""Calls that wait for a job to end."""

import asyncio
from collections.abc import Iterable

from broker.errors import OverloadedError

__all__ = ["EndWaits"]


class EndWaits:
    """Wakes whoever waits for a job when it has ended, or everybody when the broker stops."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        return self._count

    def finished(self, job_ids: Iterable[str]) -> None:
        """These jobs have ended."""
        for job_id in job_ids:
            for future in self._waiting.get(job_id, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Wake everybody and let nobody wait any more."""
        self._closed = True
        self.finished(list(self._waiting))

    def begin(self, job_id: str) -> "asyncio.Future[None]":
        """A future that resolves when the job ends; give it back with `end`. Begin before looking at the job."""
        if self._count >= self._limit:
            raise OverloadedError("Too many calls wait for jobs: ask again without wait.")
        future = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_result(None)
        self._waiting.setdefault(job_id, set()).add(future)
        self._count += 1
        return future

    def end(self, job_id: str, future: "asyncio.Future[None]") -> None:
        """The caller waits no longer."""
        futures = self._waiting[job_id]
        futures.discard(future)
        self._count -= 1
        if not futures:
            del self._waiting[job_id]
