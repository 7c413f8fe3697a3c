"""What the broker says of itself to programs, in the words of sandrun, so that its clients find what they look for."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker import __version__
from broker.api.answers import EnvironmentsAnswer, StatsAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.domain.words import JobStatus

__all__ = ["router", "service_info"]

router = APIRouter(route_class=LeanRoute, tags=["sandrun's own calls"])

EXTENSIONS = ["wait", "cancel", "stdin", "slots", "logs-offset", "limits"]
"""sandrun's extensions that the broker has too."""


def service_info(request: Request) -> Response:
    """Name, version, and what the pool's live nodes can run."""
    broker = broker_of(request)
    groups = broker.book.claiming_groups(broker.clock.now())
    interpreters = set().union(*(group.profile.interpreters for group in groups))
    live = [session for session in broker.book if broker.queries.is_alive(session)]
    slots = sum(session.slots or 0 for session in live)
    held = sum(min(session.held, session.slots or 0) for session in live)
    settings = broker.settings
    return Json(
        {
            "service": "sandrun",
            "status": "running",
            "description": "sandrun-broker: a pool of sandruns behind one address",
            "privacy": "each job runs in a sandbox of its own; its files and output are deleted after RESULT_TTL",
            "limits": {
                "timeout": settings.job_timeout,
                "max_upload_bytes": settings.max_upload_bytes,
                "max_artifacts_bytes": settings.max_artifacts_bytes,
            },
            "name": "sandrun-broker",
            "version": __version__,
            "extensions": EXTENSIONS,
            "interpreters": sorted(interpreters),
            "slots": {"total": slots, "free": max(0, slots - held)},
        }
    )


@router.get("/stats", response_model=StatsAnswer, responses=errors(503))
async def stats(request: Request) -> Response:
    """sandrun's quota and queue, for the whole pool."""
    totals = broker_of(request).store.totals()
    active = totals[JobStatus.ASSIGNED] + totals[JobStatus.RUNNING]
    quota: dict[str, Any] = {"used": 0, "limit": None, "available": None, "active_jobs": active}
    return Json(
        {
            "your_quota": {**quota, "can_submit": True, "reason": ""},
            "system": {"queue_length": totals[JobStatus.PENDING], "active_jobs": active},
        }
    )


@router.get("/environments", response_model=EnvironmentsAnswer, responses=errors(503))
async def environments(request: Request) -> Response:
    """Templates of environments: those of the nodes' sandruns; ours have none."""
    found = sorted(broker_of(request).book.environments())
    stats = {"total_templates": len(found), "cached_environments": 0, "total_uses": 0, "disk_usage_mb": 0.0}
    return Json({"templates": found, "stats": stats})
