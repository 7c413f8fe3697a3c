"""What the dashboard watches: the pool at a glance, and news of it as server-sent events."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from broker.api.access import principal_of
from broker.api.answers import OverviewAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.sse import KEEP_ALIVE, EventStream, sse
from broker.api.state import broker_of
from broker.service.events import EventHub, Watcher
from broker.service.overview import for_clients

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["overview"])

PING_SECONDS = 15
RECONNECT_MS = 2000
"""A watcher that was let go connects again, and begins with an overview."""
Topics = Annotated[str, Query(pattern="^(jobs|overview|jobs,overview|overview,jobs)$", description="jobs, overview")]


@router.get("/overview", response_model=OverviewAnswer, responses=errors(503))
async def overview(request: Request) -> Response:
    """Totals, nodes, pending jobs by class and priority, and the last hour; read from memory."""
    seen = broker_of(request).overview.take()
    return Json(
        seen if principal_of(request).sees is None else for_clients(seen), headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/events",
    responses=errors(422, 503) | {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
)
async def events(request: Request, topics: Topics = "jobs,overview") -> Response:
    """`overview`: as GET /overview, at once and then up to once a second. `jobs`: {"jobs": [[id, status]], "more"}, up
    to three times a second; `more` when so many changed that they are not all named."""
    hub = broker_of(request).events
    wanted, sees = topics.split(","), principal_of(request).sees
    news = _News(hub, hub.begin(jobs="jobs" in wanted, overview="overview" in wanted, owner=sees))
    return EventStream(news, reconnect_ms=RECONNECT_MS)


class _News:
    """What a watcher hears, as blocks of a stream. No generator: one that was never begun would not give it back."""

    def __init__(self, hub: EventHub, watcher: Watcher) -> None:
        self._hub = hub
        self._watcher = watcher

    def __aiter__(self) -> "_News":
        return self

    async def __anext__(self) -> bytes:
        """The next block; one that says nothing when there was no news for PING_SECONDS."""
        while not self._watcher.ended:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    jobs, seen = await self._watcher.news()
            except TimeoutError:
                return KEEP_ALIVE
            block = sse("jobs", to_json(jobs)) if jobs else b""
            block += sse("overview", seen) if seen else b""
            if block:
                return block
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nobody listens any more."""
        self._hub.end(self._watcher)
