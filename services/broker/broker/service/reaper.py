"""What has to be done because time passes: a loop that cannot be stopped by one failure."""

import asyncio
import time
from dataclasses import replace

from broker.clock import Clock
from broker.domain.words import NodeEventKind
from broker.errors import BrokerError
from broker.logs import EventLog
from broker.service.files import Files
from broker.service.joblog import JobLog
from broker.service.links import Links
from broker.service.matching import ClaimQueue
from broker.service.sessions import NodeSession, SessionBook
from broker.service.webhooks import Webhooks
from broker.settings import Settings
from broker.store.base import Store
from broker.store.records.upkeep import SweepPolicy, Swept

__all__ = ["Reaper"]

log = EventLog(__name__)

TICK_SECONDS = 0.5
"""How late a lease's end, a deadline or an expiry may be noticed."""
SHORTEST_SLEEP_SECONDS = 0.02
"""How late a job whose start time has come may be noticed."""


CROWDED_RETENTION_SECONDS = 60.0
"""How long a silent node is remembered while there is little room for others."""
LONGEST_PAUSE_SECONDS = 2.0
"""When this process stood still for longer (a suspended machine), what it did not hear meanwhile proves nothing."""


class Reaper:
    """Rescues the jobs of silent nodes, sweeps, and writes leases down."""

    def __init__(
        self,
        store: Store,
        book: SessionBook,
        queue: ClaimQueue,
        links: Links,
        files: Files,
        webhooks: Webhooks,
        joblog: JobLog,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._files = files
        self._webhooks = webhooks
        self._joblog = joblog
        self._store = store
        self._book = book
        self._queue = queue
        self._links = links
        self._clock = clock
        self._settings = settings
        self._policy = SweepPolicy(
            result_ttl=settings.result_ttl,
            tombstone_ttl=settings.tombstone_ttl,
            idempotency_ttl=settings.idempotency_ttl,
            node_retention=settings.node_retention,
            cancel_grace=settings.cancel_grace,
        )
        self._saved_at = clock.now()
        self._unmatched_since: dict[str, float] = {}
        self._awake_at = time.monotonic()
        self.hopeless: frozenset[str] = frozenset()
        """Classes with claimable jobs that no live node could run, as of the last tick."""

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_awake())
            tasks.create_task(self._tick_for_ever())

    async def _stay_awake(self) -> None:
        """Notice pauses of the process also while a tick waits for the store."""
        while True:
            self._forgive_own_pause()
            await asyncio.sleep(TICK_SECONDS)

    def _forgive_own_pause(self) -> None:
        """Leases ran on while this process stood still and heard nobody: give everybody that time back."""
        now = time.monotonic()
        pause, self._awake_at = now - self._awake_at, now
        if pause <= LONGEST_PAUSE_SECONDS:
            return
        log.warning("this process stood still: all leases are that much longer", seconds=round(pause, 1))
        for session in self._book:
            if not session.lapsed:
                session.lease_until += pause
                session.unsaved = True

    async def _tick_for_ever(self) -> None:
        while True:
            pause = TICK_SECONDS
            try:
                pause = await self.tick()
            except BrokerError as error:
                log.warning("a sweep was put off", error=error.message)
            except Exception:
                log.crash("a sweep failed; the next one tries again")
            await asyncio.sleep(pause)

    async def tick(self) -> float:
        """Do what is due; the answer is how many seconds the next tick may wait."""
        self._forgive_own_pause()
        now = self._clock.now()
        await self._rescue_silent(now)
        sending = self._files.sending()
        policy = replace(self._policy, spared=sending) if sending else self._policy
        if self._book.is_crowded:
            policy = replace(policy, node_retention=min(policy.node_retention, CROWDED_RETENTION_SECONDS))
        self.hopeless = self._hopeless(now)
        swept = await self._store.sweep(now, policy, self.hopeless)
        for node_id, (job_id, fence) in swept.overdue:
            self._links.tell(node_id, {"type": "lost", "job_id": job_id, "fence": fence})
        for node_id in swept.forgotten_nodes:
            self._book.forget(node_id)
            log.info("node is forgotten: nothing was heard of it for long", node=node_id)
        await self._reject_impossible(now)
        await self._save_leases(now)
        if events := self._book.unnoted():
            for event in events:
                log.info(f"node event: {event.kind.value}", node=event.node_id, session=event.session_number)
            await self._store.node_log.note(events)
        await self._files.tick()
        await self._webhooks.tick()
        self._joblog.tick(now)
        return self._pause(swept)

    async def lost(self, session: NodeSession) -> None:
        """The session's node is gone: take its jobs back now."""
        session.lapsed = True
        session.lease_until = min(session.lease_until, self._clock.now())
        self._queue.look_again(session.node_id)
        why = NodeEventKind.LINK_BROKE
        taken = await self._store.rescue([session.node_id], self._clock.now(), self._settings.result_ttl, why)
        log.info("attempts were taken back", node=session.node_id, session=session.number, attempts=len(taken))

    async def _rescue_silent(self, now: float) -> None:
        silent = [s for s in self._book if s.lease_until <= now and (s.held or not s.lapsed)]
        if not silent:
            return
        for session in silent:
            if not session.lapsed:
                log.warning("node is silent: its lease ended", node=session.node_id, session=session.number)
            # Before the rescue: a claim of it that still waits must not get the very jobs that are taken from it. A
            # beat that comes meanwhile makes it alive again, and is told which jobs it lost.
            session.lapsed = True
            self._queue.look_again(session.node_id)
        taken = await self._store.rescue([s.node_id for s in silent], now, self._settings.result_ttl)
        log.info("attempts were taken back from silent nodes", nodes=len(silent), attempts=len(taken))

    def _hopeless(self, now: float) -> frozenset[str]:
        crowd = self._book.claiming(now)
        return frozenset(key for key in self._queue.pending_classes if not crowd.can_run(key))

    async def _reject_impossible(self, now: float) -> None:
        """End jobs that no node in the registry, dead or alive, could run, after a time for such a node to come."""
        crowd = self._book.known()
        unmatched = {key for key in self._queue.pending_classes if crowd.groups and not crowd.can_run(key)}
        self._unmatched_since = {key: self._unmatched_since.get(key, now) for key in unmatched}
        before = now - self._settings.reject_after
        due = [key for key, since in self._unmatched_since.items() if since <= before]
        # Together: a thousand classes, one after the other, would keep silent nodes from being noticed for seconds.
        await asyncio.gather(*(self._store.reject_class(key, before, now, self._policy) for key in due))

    def rejects_at(self, class_key: str, created_at: float) -> float | None:
        """When a pending job is to be rejected because no known node could ever run its class; None: it is not."""
        crowd = self._book.known()
        if not crowd.groups or crowd.can_run(class_key):
            return None
        since = self._unmatched_since.get(class_key, self._clock.now())
        return max(since, created_at) + self._settings.reject_after

    async def _save_leases(self, now: float) -> None:
        if now - self._saved_at < min(self._settings.node_timeout / 4, 5):
            return
        self._saved_at = now
        await self._store.save_leases(self._book.unsaved_leases(), now)

    def _pause(self, swept: Swept) -> float:
        if swept.more:
            return 0.0
        if swept.next_due is None:
            return TICK_SECONDS
        return min(TICK_SECONDS, max(SHORTEST_SLEEP_SECONDS, swept.next_due - self._clock.now()))
