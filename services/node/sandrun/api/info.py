"""The calls about this node: what it is, whether it lives, what it has to spare."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from sandrun import __version__
from sandrun.api import docs, models
from sandrun.api.routes import ServiceDep, client_of

__all__ = ["EXTENSIONS", "router"]

#: What this node offers beyond the original sandrun. Clients use only what is listed.
EXTENSIONS = (
    "wait",
    "result",
    "cancel",
    "forget",
    "stdin",
    "slots",
    "logs-offset",
    "logs-wait",
    "logs-base64",
    "output-dropped",
    "limits",
    "stream",
)

router = APIRouter()


@router.get("/", responses=docs.of(models.Root), response_model=None)
async def root(service: ServiceDep) -> dict[str, Any]:
    """What this node is and offers."""
    settings, platform = service.settings, service.platform
    answer: dict[str, Any] = {
        "service": "sandrun",
        "status": "running" if service.unavailable is None else "unavailable",
        "description": "Runs untrusted programs, each in a sandbox of its own",
        "privacy": "Job data stays on this node and is deleted when its time is over or on download",
        "version": __version__,
        "extensions": list(EXTENSIONS),
        "slots": {"total": service.pool.slots, "free": service.pool.free()},
        "isolation": platform.launcher.tier if service.unavailable is None else "none",
        "self_test": platform.report.shown(),
        "interpreters": {name: found.version for name, found in sorted(platform.interpreters.items())},
        "memory_mode": platform.memory_mode,
        "limits": {
            **{name: {"default": each.default, "max": each.maximum} for name, each in settings.ranges().items()},
            "cpu_seconds": {"default": None, "max": settings.max_cpu_seconds},
            "upload_bytes": settings.upload_bytes,
            "queue": settings.queue,
            "ttl": settings.ttl,
        },
    }
    if service.unavailable is not None:
        answer["error"] = service.unavailable
    return answer


@router.get("/health", responses=docs.of(models.Health), response_model=None)
async def health(service: ServiceDep) -> dict[str, Any]:
    """Whether the service lives, and who it is."""
    return {"status": "healthy", "worker_id": service.identity.worker_id if service.identity else None}


@router.get("/stats", responses=docs.of(models.Stats), response_model=None)
async def stats(request: Request, service: ServiceDep) -> dict[str, Any]:
    """Where the asking client stands with its rate limits, and how busy the node is."""
    client = client_of(request)
    quota = service.quota(client)
    waiting, running = service.pool.counts()
    return {
        "your_quota": {
            "used": round(quota.used, 3),
            "limit": quota.limit,
            "available": round(quota.available, 3),
            "active_jobs": service.active_jobs(client),
            "can_submit": quota.reason is None and service.unavailable is None,
            "reason": quota.reason or service.unavailable or "",
        },
        "system": {"queue_length": waiting, "active_jobs": running},
    }


@router.get("/environments", responses=docs.of(models.Environments), response_model=None)
async def environments() -> dict[str, Any]:
    """Pre-built environments. This node builds none: every job sees the node's interpreters."""
    return {
        "templates": [],
        "stats": {"total_templates": 0, "cached_environments": 0, "total_uses": 0, "disk_usage_mb": 0},
    }
