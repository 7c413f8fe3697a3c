"""Whether the broker serves, for people, load balancers and containers."""

import sqlite3

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker import __version__
from broker.api.answers import ErrorAnswer, HealthAnswer, ReadyAnswer
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["health"])


@router.get("/health", response_model=HealthAnswer, responses={503: {"model": HealthAnswer}})
async def health(request: Request) -> Response:
    """Whether the process lives and its database takes changes; counts of jobs and live nodes."""
    broker = broker_of(request)
    totals = broker.store.totals()
    trouble = broker.store.trouble()
    content = {
        "status": "unhealthy" if trouble else "healthy" if broker.ready else "stopping",
        "jobs": sum(totals.values()),
        "jobs_by_status": totals,
        "active_nodes": len(broker.book.live(broker.clock.now())),
        "version": __version__,
        "sqlite_version": sqlite3.sqlite_version,
        "worker_id": None,  # sandrun's clients look for it: a pool has no key, each job's status names its node's
    }
    if trouble:
        content["error"] = f"The database refuses changes: {trouble}"
    return Json(content, 200 if broker.ready and not trouble else 503)


@router.get("/ready", response_model=ReadyAnswer, responses={503: {"model": ErrorAnswer}})
async def ready(request: Request) -> Response:
    """Whether calls should be sent here: not once a stop has begun, nor while the database refuses changes."""
    broker = broker_of(request)
    if broker.ready and not broker.store.trouble():
        return Json({"status": "ready"})
    error, reason = ("The database refuses changes.", "overloaded") if broker.ready else ("Stopping.", "stopping")
    return Json({"error": error, "reason": reason}, 503, {"Retry-After": "2"})
