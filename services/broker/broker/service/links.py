"""The connections that nodes keep open: news reaches a node at once, and a killed node is noticed at once.

A killed container's kernel closes its sockets. When a link breaks and its session neither opens another nor beats
within the grace, the node is lost: its jobs are rescued long before its lease ends. The fence makes that safe.

The grace is short for one node among others, whose agent would be back in milliseconds, and longer when the break looks
like trouble of the network (docs/adr/0085).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from broker.clock import Clock
from broker.logs import EventLog
from broker.service.sessions import NodeSession, SessionBook

__all__ = ["Graces", "Link", "Links"]

log = EventLog(__name__)

News = dict[str, Any]
NEWS_LIMIT = 1000
"""News that wait for a slow node; beyond it the link is ended, and the heartbeat tells the rest."""
IN_FLIGHT_SECONDS = 0.1
"""A beat that comes so soon after the break may have been sent before it, by a node that is dead now."""
MANY_LINKS = 3
"""So many breaks at a time, and more than half of all links, are no coincidence of dying nodes."""
FLAP_MEMORY_SECONDS = 60.0
"""How long a link that broke and came back speaks for the network's guilt when it breaks again."""
LATE_SECONDS = 0.05
"""A grace that took so much longer than it should was spent by this process, not by the node."""


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds that a node has to come back: `single` after its link alone broke, `trouble` when the network did."""

    single: float
    trouble: float


class Link:
    """One open connection. `news` ends with None when the broker wants it closed."""

    def __init__(self, session: NodeSession) -> None:
        self.session = session
        self.news: asyncio.Queue[News | None] = asyncio.Queue(NEWS_LIMIT + 1)

    def tell(self, news: News) -> None:
        """Queue news for the node."""
        if self.news.qsize() < NEWS_LIMIT:
            self.news.put_nowait(news)
        else:
            self.close()

    def close(self) -> None:
        """Have the connection closed."""
        if not self.news.full():
            self.news.put_nowait(None)


class Links:
    """The open link of each node. `lost` is called with a session whose grace is over."""

    def __init__(
        self, book: SessionBook, clock: Clock, graces: Graces, lost: Callable[[NodeSession], Awaitable[None]]
    ) -> None:
        self._book = book
        self._clock = clock
        self._graces = graces
        self._lost = lost
        self._links: dict[str, Link] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._breaks: deque[tuple[float, str]] = deque(maxlen=4096)
        """Moments of the last breaks (the loop's time) and whose they were."""
        self._stopping = False

    def __len__(self) -> int:
        return len(self._links)

    def open(self, session: NodeSession) -> Link:
        """A session's new link; its older one, if any, is closed."""
        self.end(session.node_id)
        link = self._links[session.node_id] = Link(session)
        if self._stopping:
            link.close()
        timer = self._timers.pop(session.node_id, None)
        if timer is not None:
            timer.cancel()
            session.link_returned_at = self._clock.now()
        return link

    def connected(self, node_id: str) -> bool:
        """Whether news would reach the node now."""
        return node_id in self._links

    def tell(self, node_id: str, news: News) -> None:
        """Send news, if the node has a link."""
        link = self._links.get(node_id)
        if link is not None:
            link.tell(news)

    def end(self, node_id: str) -> None:
        """Close a node's link: its session ended or opened another."""
        link = self._links.pop(node_id, None)
        if link is not None:
            link.close()

    def broken(self, link: Link) -> None:
        """The connection is gone. If nobody closed it on purpose, the node gets the grace to come back."""
        node_id = link.session.node_id
        if self._links.get(node_id) is not link:
            return
        del self._links[node_id]
        if not self._stopping:
            broke = asyncio.get_running_loop().time()
            self._breaks.append((broke, node_id))
            self._timers[node_id] = asyncio.ensure_future(self._after_grace(link.session, self._clock.now(), broke))

    def stop(self) -> None:
        """Close all links; a stopping broker takes nobody for lost."""
        self._stopping = True
        for link in self._links.values():
            link.close()
        for timer in self._timers.values():
            timer.cancel()

    async def _after_grace(self, session: NodeSession, broken_at: float, broke: float) -> None:
        """Wait for the node in rounds of the single grace; in trouble until that grace is over too.

        Time for which this process itself was held up is given back: what it has not read yet may be the node's return.
        """
        loop = asyncio.get_running_loop()
        node_id = session.node_id
        most = broke + max(self._graces.trouble, self._graces.single)
        while True:
            began, pause = loop.time(), self._graces.single
            await asyncio.sleep(pause)
            if self._book.find(node_id) is not session or session.lapsed:
                break
            if session.last_heartbeat > broken_at + min(IN_FLIGHT_SECONDS, pause):
                break
            late = loop.time() - began - pause
            if late > LATE_SECONDS:
                most += late
            elif loop.time() >= most or not self._in_trouble(session, broke):
                log.warning("node's link broke and it did not come back", node=node_id, session=session.number)
                self._forget_timer(node_id)
                await self._lost(session)
                return
        self._forget_timer(node_id)

    def _forget_timer(self, node_id: str) -> None:
        if self._timers.get(node_id) is asyncio.current_task():
            del self._timers[node_id]

    def _in_trouble(self, session: NodeSession, broke: float) -> bool:
        """Whether the network is more likely to have failed than the node."""
        now = self._clock.now()
        if session.link_returned_at + FLAP_MEMORY_SECONDS > now or self._many_broke(broke - self._graces.single):
            return True
        if self._links:
            return False
        # Nobody to take over: an early rescue would help nobody.
        return not any(
            other.alive(now) and other is not session and other.node_id not in self._timers for other in self._book
        )

    def _many_broke(self, since: float) -> bool:
        """Whether more than half of all links broke since then."""
        enough = max(MANY_LINKS, (len(self._links) + len(self._timers)) // 2 + 1)
        together: set[str] = set()
        for at, node_id in reversed(self._breaks):
            if at < since:
                return False
            together.add(node_id)
            if len(together) >= enough:
                return True
        return False
