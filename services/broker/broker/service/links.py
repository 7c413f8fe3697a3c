"""The connections that nodes keep open: news reaches a node at once, and a killed node is noticed at once.

A killed container's kernel closes its sockets. When a link breaks and its session neither opens another nor beats
within the grace, the node is lost: its jobs are rescued long before its lease ends. The fence makes that safe.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from broker.clock import Clock
from broker.service.sessions import NodeSession, SessionBook

__all__ = ["Link", "Links"]

log = logging.getLogger(__name__)

News = dict[str, Any]
NEWS_LIMIT = 1000
"""News that wait for a slow node; beyond it the link is ended, and the heartbeat tells the rest."""


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
        self, book: SessionBook, clock: Clock, grace_seconds: float, lost: Callable[[NodeSession], Awaitable[None]]
    ) -> None:
        self._book = book
        self._clock = clock
        self._grace = grace_seconds
        self._lost = lost
        self._links: dict[str, Link] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
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
            self._timers[node_id] = asyncio.ensure_future(self._after_grace(link.session, self._clock.now()))

    def stop(self) -> None:
        """Close all links; a stopping broker takes nobody for lost."""
        self._stopping = True
        for link in self._links.values():
            link.close()
        for timer in self._timers.values():
            timer.cancel()

    async def _after_grace(self, session: NodeSession, broken_at: float) -> None:
        await asyncio.sleep(self._grace)
        node_id = session.node_id
        self._timers.pop(node_id, None)
        if self._book.find(node_id) is session and session.last_heartbeat <= broken_at and not session.lapsed:
            log.warning("node %s: its link broke and it did not come back", node_id)
            await self._lost(session)
