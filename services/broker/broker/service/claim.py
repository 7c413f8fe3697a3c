"""Claims: a node asks for jobs, and waits for them if it wants to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.clock import Clock
from broker.domain.histogram import Histogram
from broker.errors import SessionEndedError
from broker.service.matching import ClaimQueue
from broker.service.sessions import NodeSession, SessionBook
from broker.settings import Settings
from broker.store.base import Store
from broker.store.records.attempt import ClaimedJob, ClaimGrant, ClaimRequest
from broker.wire.nodes import Claim

__all__ = ["Claims", "Grant"]

Gone = Callable[[], Awaitable[None]]
"""Returns when the caller has hung up."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a claim got; `drain`: the node gets nothing until it is resumed."""

    jobs: tuple[ClaimedJob, ...] = ()
    drain: bool = False


class Claims:
    """Hands jobs to nodes."""

    def __init__(
        self,
        store: Store,
        book: SessionBook,
        queue: ClaimQueue,
        clock: Clock,
        settings: Settings,
        seconds: Histogram,
    ) -> None:
        self._store = store
        self._book = book
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._seconds = seconds
        """How long the store took for each claim that asked it."""
        self._stopping = False

    def stop(self) -> None:
        """Let every waiting claim return empty, and new ones not wait."""
        self._stopping = True
        self._queue.wake_all()

    async def claim(self, wish: Claim, gone: Gone) -> Grant:
        """Jobs for the node, at once or within `wait` seconds. UnknownNodeError, SessionEndedError.

        Never empty while a job that the node can run is pending and the node has room. `gone` is watched while the
        claim waits: who has hung up gets no job, and neither does who has been silent for a lease meanwhile. A frozen
        or unplugged node hangs up on nobody.
        """
        session = self._book.check(wish.node_id, wish.session)
        session.sign_of_life(self._clock.now(), self._settings.node_timeout)
        if wish.claim_number is not None:
            self._queue.supersede(session)
        call = _Call(gone)
        try:
            return await self._serve(session, wish, call)
        finally:
            call.stop()
            self._pass_on(call)

    async def _serve(self, session: NodeSession, wish: Claim, call: "_Call") -> Grant:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wish.wait
        look = wish.claim_number is not None  # a repeated number gets its old attempts, pending jobs or not
        while not session.claims_nothing:
            if session.lapsed or _given_up(session, wish):
                return Grant()
            granted = ClaimGrant(())
            relieved = session.relieved
            if look or self._queue.runnable(session):
                granted = await self._take(session, wish)
            look = False
            self._pass_on(call, granted)
            if granted.jobs:
                if not call.gone and not session.lapsed and not _given_up(session, wish):
                    return Grant(granted.jobs)
                await self._put_back(session, granted)
            if call.gone or loop.time() >= give_up or not self._may_wait(session):
                return Grant()
            if session.claims_nothing or (granted.full and session.relieved != relieved):
                continue  # room, or a drain, came while we asked; jobs that did are owed to whoever waits
            if not await self._wait(session, give_up, call, full=granted.full):
                return Grant()
        return Grant(drain=True)

    async def _take(self, session: NodeSession, wish: Claim) -> ClaimGrant:
        """What can be had right now."""
        began = time.perf_counter()
        classes = self._queue.runnable(session)
        granted = await self._store.claim(
            ClaimRequest(
                node_id=session.node_id,
                class_keys=classes,
                bounds=self._queue.bounds(classes),
                max_jobs=wish.max_jobs,
                session_number=session.number,
                claim_number=wish.claim_number,
                capacity=session.capacity,
                deadline_slack=self._slack(session),
            ),
            self._clock.now(),
        )
        self._seconds.add(time.perf_counter() - began)
        if granted.ended:
            raise SessionEndedError
        if granted.jobs and not granted.repeated:
            session.last_granted = self._clock.now()
        return granted

    def _pass_on(self, call: "_Call", granted: ClaimGrant | None = None) -> None:
        """The job that the claim was woken for is another's, when it got one of another class, its node is full or
        drains now, its caller is gone, or the store took nothing. Where it looked and found nothing there is nothing,
        and what came since has woken somebody else."""
        woken_for, call.woken_for = call.woken_for, None
        if woken_for is None:
            return
        if granted is None or granted.full or (granted.jobs and woken_for not in granted.classes):
            self._queue.offer(woken_for)

    async def _put_back(self, session: NodeSession, granted: ClaimGrant) -> None:
        """The caller hung up, fell silent, or gave the claim up, while it was being served: nobody would run these."""
        refs = [(job.id, job.fence) for job in granted.jobs]
        await self._store.release(session.node_id, refs, self._clock.now(), self._settings.result_ttl)

    def _may_wait(self, session: NodeSession) -> bool:
        return not self._stopping and self._book.find(session.node_id) is session

    def _slack(self, session: NodeSession) -> float:
        """Beyond its timeout a claimed job may wait for a slot: behind one other job, if the node claims ahead."""
        ahead = 0.0 if session.slots is None else self._settings.job_timeout
        return ahead + self._settings.timeout_grace

    async def _wait(self, session: NodeSession, give_up: float, call: "_Call", *, full: bool) -> bool:
        """Wait for news; False when the claim is to return empty."""
        waiter = self._queue.begin(session, full=full)
        try:
            timeout = give_up - asyncio.get_running_loop().time()
            await asyncio.wait((waiter.future, call.hung_up), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return waiter.future.done() and not (call.gone or waiter.superseded or session.lapsed)
        finally:
            call.woken_for = waiter.woken_for
            self._queue.end(waiter)


def _given_up(session: NodeSession, wish: Claim) -> bool:
    """Whether the node said in a heartbeat that it waits no more for this claim's answer."""
    return wish.claim_number is not None and wish.claim_number <= session.claims_done


class _Call:
    """Notices that the caller hung up; begun when the claim first waits, because it costs a task."""

    def __init__(self, gone: Gone) -> None:
        self._gone = gone
        self._task: asyncio.Future[None] | None = None
        self.woken_for: str | None = None
        """The class of the job that the claim was woken for, until it is known who gets that."""

    @property
    def hung_up(self) -> "asyncio.Future[None]":
        if self._task is None:
            self._task = asyncio.ensure_future(self._gone())
        return self._task

    @property
    def gone(self) -> bool:
        return self._task is not None and self._task.done()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
