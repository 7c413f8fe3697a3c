"""The broker, put together: one object per process that owns the store, the clock and everything in memory."""

import asyncio
import time
from collections.abc import Callable

from broker import __version__
from broker.clock import Clock
from broker.domain.fairshare import FairShare
from broker.domain.words import JobStatus
from broker.logs import EventLog
from broker.service.callbacks import Caller
from broker.service.claim import Claims
from broker.service.events import EventHub
from broker.service.files import Files
from broker.service.finish import Finishing
from broker.service.forecast import Forecast
from broker.service.joblog import JobLog
from broker.service.keys import Keys
from broker.service.links import Graces, Links
from broker.service.live.book import LiveBook
from broker.service.logins import Logins
from broker.service.matching import ClaimQueue
from broker.service.meter import Meter
from broker.service.nodes import Nodes
from broker.service.overview import Overview
from broker.service.pace import Pace
from broker.service.queries import Queries
from broker.service.quotas import Quotas, Rates
from broker.service.reaper import Reaper
from broker.service.reasons import Reasons
from broker.service.sessions import SessionBook
from broker.service.submit import Submits
from broker.service.tally import Tally
from broker.service.traces import Sink, Traces
from broker.service.waits import EndWaits
from broker.service.webhooks import Webhooks
from broker.settings import Settings
from broker.store.base import Store
from broker.store.blobs.folder import BlobFolder
from broker.store.changes import Changes, Step

__all__ = ["Broker"]

log = EventLog(__name__)

MUCH_AHEAD_SECONDS = 60.0
"""The machine's clock was once wrong, or is now; the broker's never goes back."""


class Broker:
    """Start it, use its parts, stop it.

    `clock_from` makes the clock, given the latest time that the store saw. `sink`: where traces go, if they are wanted.
    """

    claims: Claims
    submits: Submits
    finishing: Finishing
    nodes: Nodes
    queries: Queries
    reasons: Reasons
    links: Links
    live: LiveBook
    webhooks: Webhooks
    files: Files
    reaper: Reaper
    overview: Overview
    events: EventHub
    clock: Clock
    keys: Keys
    logins: Logins
    quotas: Quotas
    traces: Traces | None = None

    def __init__(
        self, settings: Settings, store: Store, clock_from: Callable[[float], Clock], sink: Sink | None = None
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.store = store
        self.book = SessionBook(strict=settings.auth == "required", most=settings.max_nodes)
        self.queue = ClaimQueue(settings.max_waiting_calls)
        self.waits = EndWaits(settings.max_waiting_calls)
        self.fair = FairShare()
        self.tally = Tally()
        self.meter = Meter()
        self.pace = Pace(self.book.slots_of)
        self.joblog = JobLog(self.book.session_of)
        self.ready = False
        """Whether calls are served: after start, before stop."""
        self.folder = BlobFolder(
            settings.blob_folder,
            max_bytes=settings.max_stored_bytes,
            min_free_bytes=settings.min_free_bytes,
            durable=settings.durability == "full",
        )
        self._clock_from = clock_from
        self.failed_logins = Rates()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def stopping(self) -> bool:
        """Whether new calls are to be refused."""
        return self._stopping

    _stopping = False

    async def start(self) -> None:
        """Open the store, grant leases, and begin to serve. StartError says what stands in the way."""
        await self.store.open(self._committed)
        saved = await self.store.last_clock()
        self.clock = clock = self._clock_from(saved)
        if (ahead := saved - time.time()) > MUCH_AHEAD_SECONDS:
            log.warning(
                "the broker's time is ahead of this machine's clock, as the database has it", seconds=round(ahead)
            )
        backlog = await self.store.resume(clock.now(), saved, self.settings.node_timeout)
        for flow in backlog.flows:
            whose = (flow.submitter, flow.priority)
            self.fair.restore(flow.class_key, whose, flow.first_rank, flow.last_rank, flow.count)
        self.tally.restore(backlog.flows)
        for class_key in backlog.class_keys:
            self.queue.ready(class_key, 1)
        self._assemble(clock)
        await self.folder.open()
        await self.webhooks.start()
        await self.keys.load()
        today = self.quotas.today
        self.quotas.restore(backlog.holdings, await self.store.access.usage(today, today, None))
        for node in await self.store.nodes():
            self.book.take(node)
        for name, work in (("reaper", self.reaper.run()), ("keys", self.keys.run())):
            self._tasks.append(asyncio.create_task(work, name=name))
        if self.traces is not None:
            self._tasks.append(asyncio.create_task(self.traces.run(), name="traces"))
        self.ready = True
        log.info("serving", jobs=sum(backlog.totals.values()), nodes=len(self.book), version=__version__)

    def _assemble(self, clock: Clock) -> None:
        store, book, queue, settings = self.store, self.book, self.queue, self.settings
        self.keys = Keys(store.access, clock, settings)
        self.logins = Logins(self.keys, clock, settings)
        self.quotas = Quotas(self.keys, self.fair, clock, settings)
        graces = Graces(settings.link_grace, settings.link_trouble_grace)
        self.links = Links(book, clock, graces, lambda session: self.reaper.lost(session))
        self.live = LiveBook(
            self.links,
            readers=settings.max_live_readers,
            stream_bytes=settings.live_stream_bytes,
            total_bytes=settings.live_total_bytes,
        )
        self.files = Files(store, book, self.folder, clock, settings)
        self.claims = Claims(store, book, queue, clock, settings, self.meter.claims)
        self.queries = Queries(store, book, self.waits, clock, settings)
        self.webhooks = Webhooks(store.webhooks, store.result, Caller(settings), clock)
        self.reaper = Reaper(store, book, queue, self.links, self.files, self.webhooks, self.joblog, clock, settings)
        self.submits = Submits(
            store, book, queue, self.fair, clock, settings, self.quotas, self.webhooks, self.tally, self.joblog
        )
        if self.sink is not None:
            self.traces = Traces(self.sink, store.histories, clock)
            self.submits.on_stored = self.traces.submitted
        self.finishing = Finishing(store, book, self.links, self.files, clock, settings)
        self.nodes = Nodes(store, book, queue, self.links, clock, settings)
        forecast = Forecast(store, book, queue, self.fair, self.pace, clock)
        self.reasons = Reasons(store, book, forecast, clock, self.reaper.rejects_at)
        self.overview = Overview(store, book, self.links, self.tally, clock)
        self.events = EventHub(self.overview.take)

    def begin_stop(self) -> None:
        """Refuse new calls; let waiting ones return. What is being written is finished by `stop`."""
        if not self.ready or self._stopping:
            return
        self._stopping = True
        self.ready = False
        self.claims.stop()
        self.waits.close()
        self.links.stop()
        self.events.close()
        self.live.close()

    async def stop(self) -> None:
        """Save what is only in memory and close the store."""
        self.begin_stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.keys.save_uses()
        await self.webhooks.stop()
        if self.traces is not None:
            await self.traces.finish()
        if self.store.alive():
            await self.store.save_leases(self.book.unsaved_leases(), self.clock.now())
        await self.store.close()
        self.folder.close()
        if self.sink is not None:
            await asyncio.to_thread(self.sink.close)

    def _committed(self, group: list[Changes]) -> None:
        """What commits changed, in order: wake whoever waits for it."""
        for changes in group:
            for node_id, change in changes.held.items():
                session = self.book.find(node_id)
                if session is not None:
                    session.held += change
                    if change < 0:
                        session.relieved += 1
                        self.queue.look_again(node_id)
            for class_key, count in changes.ready.items():
                self.queue.ready(class_key, count, changes.best[class_key])
            self.queue.bounded(changes.bounds)
            self._share(changes)
            self.waits.finished(changes.finished)
            if self.ready:  # what ended before is found when webhooks are started
                self.webhooks.finished(changes.finished)
            if changes.owned:
                self.quotas.take(changes.owned)
        steps = [step for changes in group for step in changes.steps]
        if steps:
            self._stepped(steps)
            self.meter.ended(ended for changes in group for ended in changes.ended)
        for changes in group:
            if changes.released:
                self.folder.suspect(changes.released)
        if not self.store.totals()[JobStatus.PENDING]:
            self.fair.idle()

    def _stepped(self, steps: list[Step]) -> None:
        """Tell those who follow jobs, once for a whole group: most of what they cost is being called."""
        now = self.clock.now()
        self.tally.take(steps, now)
        self.meter.stepped(steps)
        self.pace.take(steps, now)
        self.joblog.take(steps, now)
        self.events.take(steps)
        self.live.stepped(steps)
        self.files.stepped(steps)
        if self.traces is not None:
            self.traces.take(steps)

    def _share(self, changes: Changes) -> None:
        """Keep account of who has how much pending, and of how far each class has got."""
        for class_key, rank, priority in changes.granted:
            self.fair.claimed(class_key, rank, priority)
        for flow, change in changes.flows.items():
            self.fair.count(flow, change)
        self.queue.drained(changes.drained)
        for class_key in changes.drained:
            self.fair.drained(class_key)
