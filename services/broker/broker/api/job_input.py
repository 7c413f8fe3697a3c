"""What a job was made of, in the words in which it can be submitted again."""

import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import JobInputAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.domain.placement import JobClass
from broker.store.records.job import JobInput

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["jobs"])


@router.get("/jobs/{job_id}/input", response_model=JobInputAnswer, responses=errors(404, 410, 422, 503))
async def job_input(request: Request, job_id: str) -> Response:
    """Everything that was submitted: code, arguments, files, limits, wishes. Without `job_id`, `not_before` and
    `deadline`, which belonged to that moment, it is a body for POST /submit."""
    broker = broker_of(request)
    found = await broker.queries.job_input(job_id)
    told = await broker.webhooks.of_job(job_id)
    return Json(_input_json(found, told[0].url if told else None))


def _input_json(found: JobInput, callback_url: str | None) -> dict[str, Any]:
    job = found.job
    content: dict[str, Any] = {
        "job_id": job.id,
        "interpreter": job.interpreter,
        "timeout": job.timeout,
        "priority": job.priority,
        "max_retries": job.max_retries,
    }
    optional = {
        "code": found.code,
        "retry_on": found.retry_on.split(",") if found.retry_on else None,
        "cache": found.cache,
        "callback_url": callback_url,
        "labels": job.labels,
        "submitter": job.submitter,
        "verify": {"replicas": job.replicas, "quorum": job.quorum} if job.quorum else None,
        **_wishes(JobClass.from_key(job.class_key)),
    }
    content.update({name: value for name, value in optional.items() if value})
    if found.spec:
        content.update(json.loads(found.spec))
    return content


def _wishes(of: JobClass) -> dict[str, Any]:
    requires = {"gpu": of.gpu, "min_cpu_cores": of.min_cpu_cores, "labels": dict(of.labels), "region": of.region}
    near = {"latitude": of.prefer_near[0], "longitude": of.prefer_near[1]} if of.prefer_near else None
    prefer = {"region": of.prefer_region, "near": near}
    return {
        "requires": {name: value for name, value in requires.items() if value},
        "prefer": {name: value for name, value in prefer.items() if value},
    }
