"""Webhooks: the end of a job, told to the URL that its client named, as Standard Webhooks has it.

What is owed is a row written with the job's submit, so no crash loses it; a delivery that was made twice has the same
`webhook-id`. The row says everything: in memory are the ids alone of what waits, and when it is due. The calls
themselves are made in broker.service.callbacks.
"""

import asyncio
import contextlib
import heapq
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from broker.clock import Clock, iso
from broker.errors import BrokerError
from broker.logs import EventLog
from broker.service.callbacks import Caller, host_of
from broker.service.outbox import Outbox
from broker.store.records.job import Result
from broker.store.records.submission import Webhook
from broker.store.webhooks import WebhookStore

__all__ = ["Webhooks"]

log = EventLog(__name__)

RETRIES = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
"""Seconds before each further try, ± 20 %: about ten hours in all."""
AT_A_TIME, AT_A_TIME_PER_HOST = 16, 4
DELIVERIES_KEPT = 20
LOOKED_AT_A_TIME = 100
LONGEST_WRITE_PAUSE_SECONDS = 30.0
PAUSE_AFTER_FAILURE_SECONDS = 1.0
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
        self._unfinished: set[str] = set()
        """Jobs whose end is to be told."""
        self._ended: deque[str] = deque()
        """Jobs that have ended, and whose payload is not written down yet."""
        self._due: list[tuple[float, str]] = []
        """A heap of moments and webhook ids. The row counts: what it says otherwise meanwhile is passed over."""
        self._outbox = Outbox(AT_A_TIME, AT_A_TIME_PER_HOST)
        self._under_way: set[str] = set()
        self._again: set[str] = set()
        """Of those under way: asked for once more meanwhile."""
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked_to: str | None = ""
        """How far what earlier versions left was looked for; None when that is done."""
        self.deliveries = {"delivered": 0, "retried": 0, "failed": 0}
        """What became of each try; `failed`: there is no other."""

    async def start(self) -> None:
        """Take up what an earlier process left."""
        after: str | None = ""
        while after is not None:
            owed, after = await self._store.owed(after)
            for webhook in owed:
                if webhook.has_payload:
                    self._due.append((webhook.next_at or 0.0, webhook.id))
                elif webhook.job_ended:
                    self._ended.append(webhook.job_id)
                else:
                    self._unfinished.add(webhook.job_id)
        heapq.heapify(self._due)
        self._pump = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Give up what is under way: it is still owed."""
        tasks = [*self._tasks, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._caller.close()

    def owe(self, job_id: str) -> None:
        """Tell of this job's end."""
        self._unfinished.add(job_id)

    def finished(self, job_ids: Iterable[str]) -> None:
        """These jobs have ended."""
        if not self._unfinished:
            return
        for job_id in job_ids:
            if job_id in self._unfinished:
                self._unfinished.discard(job_id)
                self._ended.append(job_id)
                self._news.set()

    @property
    def due(self) -> int:
        """Ended jobs whose receivers have not heard of them yet."""
        return len(self._ended) + len(self._due) + len(self._outbox)

    async def of_job(self, job_id: str) -> list[Webhook]:
        """What is or was owed for a job."""
        return await self._store.of_job(job_id)

    async def redeliver(self, job_id: str) -> int:
        """Deliver all of an ended job's webhooks once more, without waiting for the next try's time; how many."""
        count = 0
        for webhook in await self._store.of_job(job_id):
            if webhook.payload is None:
                continue
            count += 1
            if webhook.id in self._under_way:
                self._again.add(webhook.id)
            else:
                again = _once_more(webhook)
                await self._store.save(again)
                self._wait(again)
        return count

    async def tick(self) -> None:
        """Drop what earlier versions left of jobs that are gone, some at a time; called about twice a second."""
        if self._looked_to is not None:
            self._looked_to = await self._store.drop_left(self._looked_to)

    def _wait(self, webhook: Webhook) -> None:
        """Until it is due."""
        heapq.heappush(self._due, (webhook.next_at or 0.0, webhook.id))
        self._news.set()

    # ---- the pump

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
            except Exception as error:
                log.crash("webhooks were put off; they are still owed", error)
                await asyncio.sleep(PAUSE_AFTER_FAILURE_SECONDS)

    async def _turn(self) -> None:
        """Write down what ended, line up what is due, send what may be sent; then wait for more of it."""
        self._news.clear()
        some = [self._ended.popleft() for _ in range(min(len(self._ended), LOOKED_AT_A_TIME))]
        await asyncio.gather(*(self._take_up(job_id) for job_id in some))
        await self._line_up()
        while (turn := self._outbox.take()) is not None:
            task = asyncio.ensure_future(self._deliver(*turn))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        if self._ended:
            return
        pause = max(0.0, self._due[0][0] - self._clock.now()) if self._due else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._news.wait()

    async def _take_up(self, job_id: str) -> None:
        """Write down what is to be told of a job, if it has ended."""
        result = await self._find(job_id)
        if result is not None and result.job.completed_at is None:
            self._unfinished.add(job_id)
            return
        payload = None if result is None else _payload(result)
        for webhook in await self._store.of_job(job_id):
            if webhook.state != "owed" or webhook.payload is not None:
                continue
            if payload is None:
                await self._save(replace(webhook, state="failed"))  # the job went before it was told
            else:
                told = replace(webhook, payload=payload)
                await self._save(told)
                self._wait(told)

    async def _line_up(self) -> None:
        now = self._clock.now()
        for _ in range(LOOKED_AT_A_TIME):
            if not self._due or self._due[0][0] > now:
                break
            _, name = heapq.heappop(self._due)
            webhook = await self._store.one(name)
            if webhook is not None and _is_due(webhook, now):
                self._outbox.add(host_of(webhook.url), name)

    # ---- a delivery

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._news.set()
        if not task.cancelled() and task.exception() is not None:
            log.crash("a webhook's delivery failed; it is still owed", task.exception())

    async def _deliver(self, host: str, name: str) -> None:
        """Try once, unless it was tried since it came into line."""
        try:
            webhook = await self._store.one(name)
            if webhook is None or name in self._under_way or not _is_due(webhook, self._clock.now()):
                return
            self._under_way.add(name)
            try:
                await self._try(webhook)
            finally:
                self._under_way.discard(name)
                self._again.discard(name)
        finally:
            self._outbox.done(host)

    async def _try(self, webhook: Webhook) -> None:
        began = self._clock.now()
        status, error = await self._caller.call(webhook.url, webhook.id, (webhook.payload or "").encode())
        webhook = self._judged(webhook, began, status, error)
        await self._save(webhook)
        while webhook.id in self._again:
            self._again.discard(webhook.id)
            webhook = _once_more(webhook)
            await self._save(webhook)
        if webhook.state == "owed":
            self._wait(webhook)

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


def _is_due(webhook: Webhook, now: float) -> bool:
    return webhook.state == "owed" and webhook.payload is not None and (webhook.next_at or 0.0) <= now


def _once_more(webhook: Webhook) -> Webhook:
    """To be tried at once; what was settled gets all tries again."""
    return replace(webhook, state="owed", attempts=webhook.attempts if webhook.state == "owed" else 0, next_at=None)


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
