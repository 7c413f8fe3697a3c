"""The calls about jobs, as sandrun-compatible clients know them, and their extensions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from sandrun.api import docs, models, views
from sandrun.api.errors import ApiError
from sandrun.api.uploads import read_submission
from sandrun.jobs.job import Job
from sandrun.service import Service

__all__ = ["router"]

MOST_WAIT_SECONDS = 60.0
CANCEL_WAIT_SECONDS = 5.0

router = APIRouter()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


async def _job(job_id: str, service: ServiceDep) -> Job:
    job = service.store.get(job_id)
    if job is None:
        raise ApiError(404, "Job not found")
    return job


JobDep = Annotated[Job, Depends(_job)]
WaitQuery = Annotated[
    float, Query(ge=0, le=MOST_WAIT_SECONDS, description="Seconds to wait for the job's end, at most 60.")
]
EncodingQuery = Annotated[
    Literal["utf-8", "base64"], Query(description="base64: every byte from an offset on, as it was printed.")
]
OffsetQuery = Annotated[int | None, Query(ge=0, description="Give what was printed from this byte on.")]


def client_of(request: Request) -> str:
    """The address that rate limits count for. Forwarding headers are not believed."""
    return request.client.host if request.client else "unknown"


@router.post(
    "/submit",
    openapi_extra=docs.SUBMIT_BODY,
    responses=docs.of(models.Submitted, docs.SUBMIT_ANSWERS),
    response_model=None,
)
async def submit(request: Request, service: ServiceDep) -> dict[str, Any]:
    """Queue a job: one or more `files` parts and a `manifest`."""
    async with read_submission(request, service.settings.upload_bytes) as (parts, manifest):
        job, place = await service.submit(parts, manifest, client_of(request))
    answer: dict[str, Any] = {"job_id": job.id, "status": "queued", "queue_position": place}
    if job.manifest.ignored:
        answer["ignored_fields"] = list(job.manifest.ignored)
    return answer


@router.get("/status/{job_id}", responses=docs.of(models.Status, docs.NOT_FOUND), response_model=None)
async def status(job: JobDep, service: ServiceDep, wait: WaitQuery = 0.0, logs: bool = False) -> dict[str, Any]:
    """Where the job stands; with `wait`, as soon as it has ended or the time is up; with `logs`, its output too."""
    if wait > 0:
        await job.ended(wait)
    worker_id = service.identity.worker_id if service.identity else None
    shown = views.status(job, service.pool.position(job), worker_id)
    if logs:
        shown |= await asyncio.to_thread(views.logs, job) if _is_big(job) else views.logs(job)
    return shown


@router.get("/logs/{job_id}", responses=docs.of(models.Logs, docs.NOT_FOUND), response_model=None)
async def logs(
    job: JobDep,
    wait: WaitQuery = 0.0,
    stdout_from: OffsetQuery = None,
    stderr_from: OffsetQuery = None,
    encoding: EncodingQuery = "utf-8",
) -> dict[str, Any]:
    """Standard output and error. With offsets and `wait`: as soon as there is more than that, or the job has ended."""
    if encoding == "base64":
        stdout_from, stderr_from = stdout_from or 0, stderr_from or 0
    if stdout_from is None and stderr_from is None:
        if wait > 0:
            await job.ended(wait)
    else:
        stdout_from, stderr_from = stdout_from or 0, stderr_from or 0
        await _more_output(job, stdout_from, stderr_from, wait)
    status = job.status  # before the streams are read: whoever sees the end has seen everything
    if encoding == "base64":
        shown = await asyncio.to_thread(views.raw_logs, job, stdout_from or 0, stderr_from or 0)
    else:
        shown = await asyncio.to_thread(views.logs, job, stdout_from, stderr_from)
    return {**shown, "status": status.value}


@router.delete("/jobs/{job_id}", responses=docs.of(models.Cancelled, docs.NOT_FOUND), response_model=None)
async def cancel(job: JobDep, service: ServiceDep, forget: bool = False) -> dict[str, Any]:
    """End a job that waits or runs; harmless to repeat. With `forget` its data and its id are deleted too."""
    await service.cancel(job, CANCEL_WAIT_SECONDS)
    answer = {"job_id": job.id, "status": job.status.value}
    if forget and job.status.terminal:
        await asyncio.to_thread(service.store.forget, job)
    return answer


async def _more_output(job: Job, stdout_from: int, stderr_from: int, wait: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        seen = job.progress.version
        left = deadline - asyncio.get_running_loop().time()
        if job.stdout.total > stdout_from or job.stderr.total > stderr_from or job.status.terminal or left <= 0:
            return
        await job.progress.changed(seen, left)


def _is_big(job: Job) -> bool:
    """Whether decoding the output would hold up the loop noticeably."""
    return job.stdout.total + job.stderr.total > 64 * 1024
