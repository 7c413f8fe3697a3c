"""Webhooks: the end of a job, told to the URL that its client named, as Standard Webhooks has it.

What is owed is a row written with the job's submit, so no crash loses it; a delivery that was made twice has the same
`webhook-id`. The calls themselves are made in broker.service.callbacks.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from broker.clock import Clock, iso
from broker.errors import BrokerError
from broker.logs import EventLog
from broker.service.callbacks import Caller
from broker.store.records.job import Result
from broker.store.records.submission import Webhook
from broker.store.webhooks import WebhookStore

__all__ = ["Webhooks"]

log = EventLog(__name__)

RETRIES = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
"""Seconds before each further try, ± 20 %: about ten hours in all."""
DELIVERIES_KEPT = 20
LONGEST_WRITE_PAUSE_SECONDS = 30.0
GONE = 410
"""What a receiver answers that wants no more (Standard Webhooks)."""


class Webhooks:
    """Delivers what is owed. Lives on the event loop."""

    def __init__(
        self, store: WebhookStore, find: Callable[[str], Awaitable[Result | None]], caller: Caller, clock: Clock
    ) -> None:
        self._store = store
        self._find = find
        """Store.result: an ended job that has expired is told of too, as long as it is there."""
        self._caller = caller
        self._clock = clock
        self._owed: dict[str, list[Webhook]] = {}
        """By job id, what waits for the job's end."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry: dict[str, asyncio.Event] = {}
        """By webhook id, while it is being delivered: set to try at once."""
        self._looked_to: str | None = ""
        """How far what earlier versions left was looked for; None when that is done."""
        self.deliveries = {"delivered": 0, "retried": 0, "failed": 0}
        """What became of each try; `failed`: there is no other."""

    async def start(self) -> None:
        """Take up what an earlier process left."""
        for webhook in await self._store.owed():
            self.owe(webhook)
            self._spawn(self._take_up(webhook.job_id))

    async def stop(self) -> None:
        """Give up what is under way: it is still owed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._caller.close()

    def owe(self, webhook: Webhook) -> None:
        """Deliver it when its job ends."""
        self._owed.setdefault(webhook.job_id, []).append(webhook)

    def finished(self, job_ids: Iterable[str]) -> None:
        """These jobs have ended."""
        if self._owed:
            for job_id in job_ids:
                if job_id in self._owed:
                    self._spawn(self._take_up(job_id))

    @property
    def due(self) -> int:
        """Ended jobs whose receivers have not heard of them yet."""
        return len(self._tasks)

    async def of_job(self, job_id: str) -> list[Webhook]:
        """What is or was owed for a job."""
        return await self._store.of_job(job_id)

    async def redeliver(self, job_id: str) -> int:
        """Deliver all of an ended job's webhooks once more, without waiting for the next try's time; how many."""
        count = 0
        for webhook in await self._store.of_job(job_id):
            hurry = self._hurry.get(webhook.id)
            if hurry is not None:
                hurry.set()
            elif webhook.payload is not None:
                again = replace(webhook, state="owed", attempts=0, next_at=None)
                self._hurry[webhook.id] = asyncio.Event()  # at once: whoever asks twice gets one delivery
                try:
                    await self._store.save(again)
                except BaseException:
                    del self._hurry[webhook.id]
                    raise
                self._spawn(self._deliver(again))
            count += hurry is not None or webhook.payload is not None
        return count

    async def tick(self) -> None:
        """Drop what earlier versions left of jobs that are gone, some at a time; called about twice a second."""
        if self._looked_to is not None:
            self._looked_to = await self._store.drop_left(self._looked_to)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.crash("a webhook's delivery failed; it is still owed", task.exception())

    async def _take_up(self, job_id: str) -> None:
        """Begin the deliveries of a job, if it has ended."""
        result = await self._find(job_id)
        if result is not None and result.job.completed_at is None:
            return
        payload = None if result is None else _payload(result)
        for webhook in self._owed.pop(job_id, []):
            text = webhook.payload or payload
            if text is None:
                await self._save(replace(webhook, state="failed"))  # the job went before it was told
            else:
                await self._deliver(replace(webhook, payload=text))

    async def _deliver(self, webhook: Webhook) -> None:
        """Try until it is delivered, refused for good, or the tries are used up."""
        hurry = self._hurry.setdefault(webhook.id, asyncio.Event())
        try:
            while webhook.state == "owed":
                if webhook.next_at is not None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(max(0.0, webhook.next_at - self._clock.now())):
                            await hurry.wait()
                hurry.clear()
                began = self._clock.now()
                status, error = await self._caller.call(webhook.url, webhook.id, (webhook.payload or "").encode())
                webhook = self._judged(webhook, began, status, error)
                await self._save(webhook)
                if hurry.is_set() and webhook.state != "owed":  # asked for once more in the meantime
                    webhook = replace(webhook, state="owed", attempts=0, next_at=None)
                    await self._save(webhook)
        finally:
            del self._hurry[webhook.id]

    async def _save(self, webhook: Webhook) -> None:
        """Write it down, however long the store takes nothing."""
        pause = 0.1
        while True:
            try:
                await self._store.save(webhook)
            except BrokerError as error:
                log.warning("a webhook's state waits to be written", error=error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_WRITE_PAUSE_SECONDS)
            else:
                return

    def _judged(self, webhook: Webhook, began: float, status: int | None, error: str | None) -> Webhook:
        attempts = webhook.attempts + 1
        state, next_at = "owed", None
        if status is not None and 200 <= status < 300:
            state = "delivered"
        elif status == GONE or attempts > len(RETRIES):
            state = "failed"
        else:
            pause = RETRIES[attempts - 1] * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, no secret
            next_at = self._clock.now() + pause
        self.deliveries["retried" if state == "owed" else state] += 1
        seconds = round(self._clock.now() - began, 3)
        entry = {"at": iso(began), "status": status, "error": error, "seconds": seconds}
        deliveries = [*json.loads(webhook.deliveries), entry][-DELIVERIES_KEPT:]
        return replace(webhook, state=state, attempts=attempts, next_at=next_at, deliveries=json.dumps(deliveries))


def _payload(result: Result) -> str:
    """What a receiver hears: the verdict, sizes, and where the output is; never the output itself."""
    job = result.job
    details: dict[str, Any] = json.loads(result.details) if result.details else {}
    data = {
        "job_id": job.id,
        "status": job.status.value,
        "failure": job.failure.value if job.failure else None,
        "exit_code": job.exit_code,
        "attempt": job.attempt,
        "node_id": job.node_id,
        "labels": job.labels,
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
        "limit": details.get("limit"),
        "usage": details.get("usage"),
        "verify": job.verify,
        "output_bytes": details.get("output_bytes", len(result.output.encode())),
        "error_bytes": details.get("error_bytes", len(result.error.encode())),
        "files": job.file_count,
        "results_url": f"/results/{job.id}",
    }
    return json.dumps({"type": f"job.{job.status.value}", "timestamp": iso(job.completed_at), "data": data})
