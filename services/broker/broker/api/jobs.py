"""What clients call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from broker.api.access import principal_of
from broker.api.answers import (
    CancelAnswer,
    CancelManyAnswer,
    JobAnswer,
    JobListAnswer,
    JobWithAttemptsAnswer,
    NotEndedAnswer,
    ResultAnswer,
    ResultsAnswer,
    SandrunJobAnswer,
    SubmitAnswer,
    SubmitBatchAnswer,
    errors,
)
from broker.api.errors import HttpError
from broker.api.files import artifact_json
from broker.api.lean import LeanRoute, takes_multipart
from broker.api.multipart import Upload, read_upload
from broker.api.render import Json, attempt_json, job_json, result_json
from broker.api.sandrun_words import WORDS, status_json
from broker.api.state import broker_of, whole
from broker.domain.words import Failure, JobStatus
from broker.service.forecast import MOST_COUNTED
from broker.service.submit import SANDRUN
from broker.service.traces import trace_shown
from broker.service.uploads import make_job
from broker.store.records.job import JobFilter, Result, StoredFile
from broker.store.records.submission import SubmitOutcome
from broker.wire.jobs import JobIds, SubmitBatch, SubmitJob

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["jobs"])

MAX_WAIT_SECONDS = 60
MAX_KEY_CHARS = 200
MAX_CANCELLED = 10_000
NOT_ENDED = "Job not completed"

UPLOAD_SCHEMA = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "manifest": {"type": "string", "description": "JSON; without it a job.json among the files."},
    },
}
"""What sandrun takes: archives (.tar.gz, .tgz, .tar, .zip) are unpacked, other files stored under their names."""

Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the job's end.")]

COUNTED_IN_STATUS = 1_000
"""Jobs ahead that /status counts: it is asked often. /jobs/{id} counts MOST_COUNTED."""

ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)


async def submit_upload(request: Request, wait: float = 0) -> Response:
    """POST /submit as sandrun's clients send it: `files` and `manifest` as multipart/form-data."""
    key = _idempotency_key(request)
    upload = await read_upload(request)
    outcome, ignored = await whole(_store_upload(request, upload, key))
    return await _submitted(request, outcome, wait, words=WORDS, ignored=ignored)


async def _store_upload(request: Request, upload: Upload, key: str | None) -> tuple[SubmitOutcome, list[str]]:
    broker = broker_of(request)
    try:
        job, ignored = await make_job(broker.files, upload.parts, upload.manifest)
        stored = [StoredFile(part.name, part.blob.sha256, part.blob.size) for part in upload.parts]
        upload.arrival.over()  # from here on the job counts
        return await broker.submits.submit((job,), key, principal_of(request).id, stored), ignored
    finally:
        upload.release()


@router.post(
    "/submit",
    response_model=SubmitAnswer,
    responses=errors(400, 408, 409, 413, 415, 422, 503, 507),
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": UPLOAD_SCHEMA}}}},
)
@takes_multipart(submit_upload)
async def submit(request: Request, body: SubmitJob, wait: Wait = 0) -> Response:
    """Take a job. The answer comes when it is stored for good; with `wait`, when it has ended or the time is up."""
    taking = broker_of(request).submits.submit((body,), _idempotency_key(request), principal_of(request).id)
    # A call that waits is cut off when its key is revoked, but not in the middle of this.
    return await _submitted(request, await (whole(taking) if wait else taking), wait)


async def _submitted(
    request: Request,
    outcome: SubmitOutcome,
    wait: float,
    words: Mapping[JobStatus, str] | None = None,
    ignored: Sequence[str] = (),
) -> Response:
    job = outcome.jobs[0]
    content: dict[str, Any] = {"job_id": job.id, "status": words[job.status] if words else job.status.value}
    if job.cached:
        content["cached"] = True
    if outcome.replayed:
        content["replayed"] = True
    if ignored:
        content["ignored_fields"] = ignored
    if wait > 0:
        result = await broker_of(request).queries.result(job.id, wait)
        status = result.job.status
        if status in ENDED:
            content |= await _full_result(request, result)
        content["status"] = words[status] if words else status.value
    return Json(content)


async def _full_result(request: Request, result: Result) -> dict[str, Any]:
    """With the files that the job left; they are only asked for when it left any."""
    if not result.job.file_count:
        return result_json(result)
    artifacts = await broker_of(request).files.artifacts(result.job.id)
    return result_json(result, [artifact_json(result.job.id, file) for file in artifacts])


@router.post("/submit/batch", response_model=SubmitBatchAnswer, responses=errors(400, 408, 409, 413, 415, 422, 503))
async def submit_batch(request: Request, body: SubmitBatch) -> Response:
    """Take several jobs, all or none; the ids come in the order of the jobs."""
    outcome = await broker_of(request).submits.submit(body.jobs, _idempotency_key(request), principal_of(request).id)
    jobs = [{"job_id": job.id, "status": job.status.value, "cached": job.cached} for job in outcome.jobs]
    return Json({"jobs": jobs, "job_ids": [job.id for job in outcome.jobs], "replayed": outcome.replayed})


@router.get("/status/{job_id}", response_model=JobAnswer | SandrunJobAnswer, responses=errors(404, 410, 422, 503))
async def status(request: Request, job_id: str, wait: Wait = 0) -> Response:
    """Where a job is in its life, and what it waits for."""
    broker = broker_of(request)
    queries = broker.queries
    job = await queries.job(job_id, wait)
    if job.dialect == SANDRUN:
        result = await queries.result(job_id)
        files = await broker.files.artifacts(job_id) if job.file_count else ()
        return Json(status_json(result, files, await broker.reasons.full(result.job, COUNTED_IN_STATUS)))
    return Json(job_json(job, await broker.reasons.full(job, COUNTED_IN_STATUS)))


@router.get(
    "/results/{job_id}",
    response_model=ResultAnswer,
    responses=errors(404, 410, 422, 503) | {202: {"model": NotEndedAnswer}},
)
async def results(request: Request, job_id: str, wait: Wait = 0) -> Response:
    """What an ended job printed; 202 before."""
    result = await broker_of(request).queries.result(job_id, wait)
    if result.job.status not in ENDED:
        return Json({"error": NOT_ENDED, "status": result.job.status.value}, 202)
    return Json(await _full_result(request, result))


@router.post("/results/batch", response_model=ResultsAnswer, responses=errors(400, 408, 413, 415, 422, 503))
async def results_batch(request: Request, body: JobIds) -> Response:
    """Several results at once, in the order asked for; what is unknown or deleted says so in its place."""
    found = await broker_of(request).queries.results(body.job_ids, principal_of(request).sees)
    return Json(
        {
            "results": [
                {"job_id": job_id, "error": "Job not found"}
                if result is None
                else (await _full_result(request, result) if result.job.status in ENDED else _not_ended(result))
                for job_id, result in zip(body.job_ids, found, strict=True)
            ]
        }
    )


@router.get("/jobs", response_model=JobListAnswer, responses=errors(422, 503))
async def list_jobs(
    request: Request,
    status: Annotated[JobStatus | None, Query()] = None,
    submitter: Annotated[str | None, Query(max_length=256)] = None,
    label: Annotated[str | None, Query(max_length=400, pattern="^[^=]+=", description="name=value")] = None,
    interpreter: Annotated[str | None, Query(max_length=64)] = None,
    failure: Annotated[Failure | None, Query()] = None,
    node: Annotated[str | None, Query(max_length=256)] = None,
    text: Annotated[
        str | None, Query(max_length=200, description="In submitter, labels or code, or an id's start")
    ] = None,
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Jobs, newest first. `next_cursor` of one page is `cursor` of the next; null on the last."""
    name, _, value = (label or "").partition("=")
    queries = broker_of(request).queries
    wanted = JobFilter(
        status, submitter, (name, value) if label else None, interpreter, failure, node, text or None, cursor, limit
    )
    wanted = replace(wanted, owner=principal_of(request).sees)
    jobs, following = await queries.list_jobs(wanted)
    reasons = broker_of(request).reasons
    outlook = reasons.outlook()
    shown = [job_json(job, reasons.brief(job, outlook)) for job in jobs]
    return Json({"jobs": shown, "next_cursor": following})


@router.get("/jobs/{job_id}", response_model=JobWithAttemptsAnswer, responses=errors(404, 410, 422, 503))
async def job_with_attempts(request: Request, job_id: str) -> Response:
    """A job with every attempt at it."""
    broker = broker_of(request)
    job = await broker.queries.job(job_id)
    attempts = await broker.queries.attempts(job_id)
    told = await broker.reasons.full(job, MOST_COUNTED, attempts)
    more = {
        "attempts": [attempt_json(each) for each in attempts],
        "request_id": await broker.store.request_of(job_id),
        "trace_id": None if broker.sink is None else trace_shown(broker.sink, job_id),
    }
    return Json(job_json(job, told) | more)


@router.delete("/jobs", response_model=CancelManyAnswer, responses=errors(422, 503))
async def cancel_many(
    request: Request,
    label: Annotated[str | None, Query(max_length=400, pattern="^[^=]+=", description="name=value")] = None,
    submitter: Annotated[str | None, Query(max_length=256)] = None,
    status: Annotated[JobStatus | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_CANCELLED)] = MAX_CANCELLED,
) -> Response:
    """End every job that matches all of these (at least one) and has not ended."""
    if label is None and submitter is None and status is None:
        raise HttpError(422, "Say which jobs: label=name=value, submitter or status.")
    name, _, value = (label or "").partition("=")
    wanted = JobFilter(status, submitter, (name, value) if label else None, owner=principal_of(request).sees)
    found = await broker_of(request).finishing.cancel_many(wanted, limit)
    return Json({"cancelled": found.cancelled, "requested": found.requested, "more": found.more})


@router.delete(
    "/jobs/{job_id}", response_model=CancelAnswer, responses=errors(404, 422, 503) | {202: {"model": CancelAnswer}}
)
async def cancel(request: Request, job_id: str) -> Response:
    """End a job: at once (200), or as soon as its node has ended it (202). Doing so again is harmless."""
    outcome = await broker_of(request).finishing.cancel(job_id)
    content = {
        "job_id": job_id,
        "status": outcome.status.value,
        "failure": outcome.failure.value if outcome.failure else None,
        "cancel_requested": outcome.requested,
    }
    return Json(content, 202 if outcome.requested else 200)


def _not_ended(result: Result) -> dict[str, Any]:
    return {"job_id": result.job.id, "error": NOT_ENDED, "status": result.job.status.value}


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
        raise HttpError(422, f"Idempotency-Key must have 1 to {MAX_KEY_CHARS} characters.")
    return key
