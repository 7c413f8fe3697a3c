"""What the dashboard watches: the pool at a glance, and news of it as server-sent events."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.api.access import principal_of
from broker.api.answers import OverviewAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.service.events import EventHub, Watcher
from broker.service.overview import for_clients

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["overview"])

PING_SECONDS = 15
SEND_SECONDS = 30
"""A watcher that takes nothing for so long is let go: it connects again, and begins with an overview."""
RECONNECT = b"retry: 2000\n\n"
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
    return _EventStream(hub, hub.begin(jobs="jobs" in wanted, overview="overview" in wanted, owner=sees))


class _EventStream(Response):
    """Streams news until either side ends it."""

    def __init__(self, hub: EventHub, watcher: Watcher) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self._hub = hub
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = asyncio.ensure_future(_hangup(receive))
        writer = asyncio.ensure_future(self._stream(send))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            self._hub.end(self._watcher)
        if writer.done() and not writer.cancelled():
            await send({"type": "http.response.body", "body": b""})

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        chunk = RECONNECT
        while not self._watcher.ended:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                async with asyncio.timeout(PING_SECONDS):
                    jobs, seen = await self._watcher.news()
            except TimeoutError:
                chunk = b": still here\n\n"
                continue
            chunk = b"event: jobs\ndata: " + to_json(jobs) + b"\n\n" if jobs else b""
            chunk += b"event: overview\ndata: " + seen + b"\n\n" if seen else b""


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
