"""News for whoever watches: which jobs changed, and the overview, gathered so that a watcher gets a few messages a
second whatever the pool does. Nobody watches: nothing is done.

What a watcher has not taken is merged, not queued: its memory is bounded, and a slow one gets less often the newest.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from broker.errors import OverloadedError
from broker.logs import EventLog
from broker.service.overview import for_clients
from broker.store.changes import Step

__all__ = ["EventHub", "Watcher"]

log = EventLog(__name__)

MAX_WATCHERS = 100
CLIENT_WATCHERS = 80
"""Of these, by clients in all, and by one of them: nobody keeps the others or the admins from watching."""
OWN_WATCHERS = 20
MAX_JOBS = 200
"""Job changes in one message; beyond it the message says `more`: look at what you show again."""
GATHER_SECONDS = 0.3
OVERVIEW_SECONDS = 1.0
"""Between overviews while jobs change, and QUIET_SECONDS while they do not: heartbeats age."""
QUIET_SECONDS = 2.0


@dataclass(slots=True)
class _Jobs:
    """Changes of jobs, the last word on each."""

    changed: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Id -> status and owner."""
    more: bool = False

    def add(self, job_id: str, status: str, owner: str | None) -> None:
        if job_id in self.changed or len(self.changed) < MAX_JOBS:
            self.changed[job_id] = (status, owner)
        else:
            self.more = True

    def merge(self, news: "_Jobs", sees: str | None) -> None:
        """Add news of the jobs of an owner; None: of all."""
        for job_id, (status, owner) in news.changed.items():
            if sees is None or sees == owner:
                self.add(job_id, status, owner)
        self.more = self.more or news.more

    def __bool__(self) -> bool:
        return bool(self.changed) or self.more


class Watcher:
    """One who watches. `wants_jobs`, `wants_overview`: what it asked for; `owner`: whose jobs it sees, None for all."""

    def __init__(self, wants_jobs: bool, wants_overview: bool, owner: str | None) -> None:
        self.owner = owner
        self.wants_jobs = wants_jobs
        self.wants_overview = wants_overview
        self.ended = False
        self._jobs = _Jobs()
        self._overview: bytes | None = None
        self._news = asyncio.Event()

    def tell(self, jobs: _Jobs, overview: bytes | None) -> None:
        """Merge news into what waits."""
        if self.wants_jobs and jobs:
            self._jobs.merge(jobs, self.owner)
        if self.wants_overview and overview is not None:
            self._overview = overview
        if self._jobs or self._overview is not None:
            self._news.set()

    def end(self) -> None:
        """No more will come."""
        self.ended = True
        self._news.set()

    async def news(self) -> tuple[dict[str, Any] | None, bytes | None]:
        """What changed since the last call: {"jobs": [[id, status]], "more"} and the overview's JSON; waits for it."""
        await self._news.wait()
        self._news.clear()
        jobs, self._jobs = self._jobs, _Jobs()
        overview, self._overview = self._overview, None
        changed = [(job_id, status) for job_id, (status, _) in jobs.changed.items()]
        return ({"jobs": changed, "more": jobs.more} if jobs else None), overview


class EventHub:
    """Lives on the event loop; fed with what commits changed."""

    def __init__(self, overview: Callable[[], dict[str, Any]]) -> None:
        self._overview = overview
        self._watchers: set[Watcher] = set()
        self._jobs = _Jobs()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        self._told = 0.0
        """When the last overview was sent; `_busy`: jobs changed since."""
        self._busy = False

    def __len__(self) -> int:
        return len(self._watchers)

    def take(self, steps: Iterable[Step]) -> None:
        """Jobs changed."""
        if not self._watchers or self._jobs.more:
            return
        for step in steps:
            self._jobs.add(step.job_id, step.new.value, step.owner)

    def begin(self, *, jobs: bool, overview: bool, owner: str | None = None) -> Watcher:
        """Watch the jobs of an owner, or of all; give the watcher back with `end`. It has an overview at once.
        OverloadedError beyond the limits."""
        self._make_sure_of_room(owner)
        watcher = Watcher(jobs, overview, owner)
        if self._closed:
            watcher.end()
        self._watchers.add(watcher)
        watcher.tell(_Jobs(), self._seen_by(owner) if overview else None)
        if self._pump is None and not self._closed:
            self._pump = asyncio.create_task(self._run(), name="events")
        return watcher

    def _make_sure_of_room(self, owner: str | None) -> None:
        clients = [watcher.owner for watcher in self._watchers if watcher.owner is not None]
        full = owner is not None and (len(clients) >= CLIENT_WATCHERS or clients.count(owner) >= OWN_WATCHERS)
        if full or len(self._watchers) >= MAX_WATCHERS:
            raise OverloadedError("Too many watch this broker: try again later.")

    def _seen_by(self, owner: str | None) -> bytes:
        """The overview: all of it, or what is any client's business."""
        seen = self._overview()
        return to_json(seen if owner is None else for_clients(seen))

    def end(self, watcher: Watcher) -> None:
        """Nobody listens to it any more."""
        self._watchers.discard(watcher)
        if not self._watchers and self._pump is not None:
            self._pump.cancel()
            self._pump = None
            self._jobs = _Jobs()

    def close(self) -> None:
        """The broker stops."""
        self._closed = True
        for watcher in self._watchers:
            watcher.end()

    async def _run(self) -> None:
        self._told, self._busy = asyncio.get_running_loop().time(), False
        while True:
            await asyncio.sleep(GATHER_SECONDS)
            try:
                self._tell()
            except Exception as error:  # or nobody would hear of anything until the broker starts again
                log.crash("watchers were not told", error)

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        jobs, self._jobs = self._jobs, _Jobs()
        self._busy = self._busy or bool(jobs)
        overviews: dict[bool, bytes] = {}
        if now - self._told >= (OVERVIEW_SECONDS if self._busy else QUIET_SECONDS) and (kinds := self._wanted()):
            self._told, self._busy = now, False
            overviews = {clients: self._seen_by("" if clients else None) for clients in kinds}
        for watcher in self._watchers:
            watcher.tell(jobs, overviews.get(watcher.owner is not None))

    def _wanted(self) -> set[bool]:
        """Whether clients (True), admins (False) or both watch the overview."""
        return {watcher.owner is not None for watcher in self._watchers if watcher.wants_overview}
