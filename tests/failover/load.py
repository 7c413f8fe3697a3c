"""Short jobs that keep coming while something is broken."""

from __future__ import annotations

import threading
from types import TracebackType

from failover.client import Client, Job
from failover.cluster import Cluster
from support.waiting import wait_until


class Load:
    """Submits a job of `seconds` every `every` seconds from a thread of its own, as a client that insists."""

    def __init__(self, cluster: Cluster, *, seconds: float = 0.2, every: float = 0.2) -> None:
        self.jobs: list[Job] = []
        self._cluster = cluster
        self._seconds = seconds
        self._every = every
        self._client = Client("load", cluster.url, cluster.history)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
        self._cluster.jobs.extend(self.jobs)
        if self._error is not None and error is None:
            raise self._error

    def reach(self, jobs: int) -> None:
        """Until so many were accepted."""

        def reached() -> bool:
            assert self._error is None, self._error
            return len(self.jobs) >= jobs

        wait_until(reached, seconds=150, what=f"{jobs} jobs are accepted")

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self.jobs.append(self._client.submit(self._seconds))
        except BaseException as error:
            self._error = error
