"""Work for a broker that is about to be broken: many clients and nodes with operations in flight all the time."""

from __future__ import annotations

import asyncio
import itertools
import random

from chaos.actors import TERMINAL, Client
from chaos.rig import Scenario
from support.waiting import eventually


class Load:
    """`clients` calls in flight at any moment (submits and cancels), and nodes that run what is submitted.

    Every call is repeated until it is answered, as careful clients do, so the load goes on after a crash.
    """

    def __init__(
        self, scenario: Scenario, *, clients: int, nodes: int = 8, slots: int = 4, links: bool = False
    ) -> None:
        self.jobs: list[str] = []
        self._numbers = itertools.count()
        self._clients = [scenario.client(f"client-{n}") for n in range(clients)]
        self._nodes = [scenario.node(f"node-{n}", slots=slots) for n in range(nodes)]
        self._scenario = scenario
        self._links = links
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._progress = asyncio.Condition()

    async def __aenter__(self) -> Load:
        for node in self._nodes:
            self._scenario.work(node, link=self._links)
        self._tasks = [asyncio.create_task(self._submits(client)) for client in self._clients]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reach(self, jobs: int, seconds: float = 120) -> None:
        """Wait until so many submissions were acknowledged."""
        async with asyncio.timeout(seconds), self._progress:
            await self._progress.wait_for(lambda: len(self.jobs) >= jobs)

    async def finish(self, seconds: float = 120) -> None:
        """Submit no more, and wait until every accepted job has ended."""
        self._stop.set()
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._tasks)
        client = self._clients[0]
        await eventually(lambda: _all_ended(client, self.jobs), seconds=seconds, what="every accepted job ends")

    async def _submits(self, client: Client) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            job = await client.submit("exit 3" if number % 7 == 0 else f"ok {number}")
            self.jobs.append(job)
            async with self._progress:
                self._progress.notify_all()
            if number % 11 == 0:
                await client.cancel(random.choice(self.jobs))


async def _all_ended(client: Client, jobs: list[str]) -> bool:
    """Asked in batches; what has ended is not asked for again."""
    open_jobs = set(jobs)
    for start in range(0, len(jobs), 500):
        call = await client.insist("results_batch", "POST", "/results/batch", {"job_ids": jobs[start : start + 500]})
        assert call.status == 200, (call.status, call.body)
        open_jobs -= {result["job_id"] for result in call.body["results"] if result.get("status") in TERMINAL}
    return not open_jobs
