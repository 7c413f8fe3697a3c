"""Files between broker and nodes: what a job was submitted with, what it left (docs/node-protocol.md)."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import MissingAnswer, StatusOkAnswer, errors
from broker.api.blob_response import BlobResponse
from broker.api.errors import HttpError
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.api.streaming import body_chunks, declared_size
from broker.errors import InvalidFieldError
from broker.wire.nodes import Missing

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["nodes"])

Fence = Annotated[int, Query(ge=0, le=2**53, description="The fence of the attempt.")]
_SHA256 = re.compile(r"[0-9a-f]{64}")


@router.get(
    "/inputs/{job_id}/{sha256}",
    responses=errors(404, 409, 422, 503) | {200: {"content": {"application/octet-stream": {}}}},
)
async def fetch_input(request: Request, job_id: str, sha256: str, fence: Fence = 0) -> Response:
    """A part of the job's upload, for the node that holds the attempt. Ranges work."""
    await _attempt(request, job_id, fence)
    blob = await broker_of(request).files.open_input(job_id, _checked(sha256))
    return BlobResponse(request, blob, sha256, {"Content-Type": "application/octet-stream"})


@router.put(
    "/artifacts/{job_id}/{sha256}",
    response_model=StatusOkAnswer,
    responses=errors(404, 408, 409, 411, 413, 422, 503, 507),
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}, "required": True}},
)
async def put_artifact(request: Request, job_id: str, sha256: str, fence: Fence = 0) -> Response:
    """Take a file that an attempt left; its completion names it."""
    broker, settings = broker_of(request), broker_of(request).settings
    await _attempt(request, job_id, fence)
    size = declared_size(request)
    chunks = body_chunks(request, idle_seconds=settings.body_timeout, total_seconds=settings.upload_timeout)
    await broker.files.put_artifact(job_id, fence, _checked(sha256), size, chunks)
    return Json({"status": "ok"})


@router.post(
    "/artifacts/{job_id}/missing",
    response_model=MissingAnswer,
    responses=errors(400, 404, 408, 409, 413, 415, 422, 503),
)
async def missing(request: Request, job_id: str, body: Missing, fence: Fence = 0) -> Response:
    """Which of these contents still have to be sent for this attempt."""
    await _attempt(request, job_id, fence)
    return Json({"missing": broker_of(request).files.missing(job_id, fence, body.sha256)})


async def _attempt(request: Request, job_id: str, fence: int) -> None:
    """That the caller is the node that holds the attempt. HttpError 422, and as Files.attempt."""
    node_id, session = request.headers.get("sandrun-node"), request.headers.get("sandrun-session")
    if not node_id or not session:
        raise HttpError(422, "Send the headers Sandrun-Node and Sandrun-Session.")
    await broker_of(request).files.attempt(node_id, session, job_id, fence)


def _checked(sha256: str) -> str:
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidFieldError("sha256", "sha256 must be 64 hexadecimal digits in lower case.")
    return sha256
