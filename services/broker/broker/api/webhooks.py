"""What became of a job's webhooks, and once more."""

import json

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import RedeliverAnswer, WebhooksAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.clock import iso

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["webhooks"])


@router.get("/jobs/{job_id}/webhooks", response_model=WebhooksAnswer, responses=errors(404, 410, 422, 503))
async def webhooks(request: Request, job_id: str) -> Response:
    """The deliveries of a job's end to its callback_url."""
    broker = broker_of(request)
    await broker.queries.job(job_id)
    return Json(
        {
            "webhooks": [
                {
                    "id": webhook.id,
                    "url": webhook.url,
                    "state": webhook.state,
                    "attempts": webhook.attempts,
                    "next_at": iso(webhook.next_at),
                    "deliveries": json.loads(webhook.deliveries),
                }
                for webhook in await broker.webhooks.of_job(job_id)
            ]
        }
    )


@router.post("/jobs/{job_id}/webhooks/redeliver", response_model=RedeliverAnswer, responses=errors(404, 410, 422, 503))
async def redeliver(request: Request, job_id: str) -> Response:
    """Deliver the end of a job once more."""
    broker = broker_of(request)
    await broker.queries.job(job_id)
    return Json({"redelivered": await broker.webhooks.redeliver(job_id)})
