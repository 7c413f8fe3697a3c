"""Whether the broker serves, for people, load balancers and containers."""

import sqlite3

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker import __version__
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["health"])


@router.get("/health", responses={503: {"description": "cannot serve"}})
async def health(request: Request) -> Response:
    """Whether the process lives and its store answers; counts of jobs and live nodes."""
    broker = broker_of(request)
    totals = broker.store.totals()
    content = {
        "status": "healthy" if broker.ready else "stopping",
        "jobs": sum(totals.values()),
        "jobs_by_status": totals,
        "active_nodes": len(broker.book.live(broker.clock.now())),
        "version": __version__,
        "sqlite_version": sqlite3.sqlite_version,
    }
    return Json(content, 200 if broker.ready else 503)


@router.get("/ready", responses={503: {"description": "send no calls here"}})
async def ready(request: Request) -> Response:
    """Whether calls should be sent here: not before the start is over, not once a stop has begun."""
    broker = broker_of(request)
    if broker.ready:
        return Json({"status": "ready"})
    return Json({"error": "The broker is stopping.", "reason": "stopping"}, 503, {"Retry-After": "2"})
