"""Every error leaves as JSON with `error`, a sentence; nothing else ever does."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from loglines import EventLog
from sandrun.jobs.manifest import EntrypointError, ManifestError
from sandrun.jobs.pool import PoolClosedError, QueueFullError
from sandrun.jobs.rates import RateExceededError
from sandrun.jobs.uploads import UploadError
from sandrun.service import UnavailableError

__all__ = ["ApiError", "install"]

log = EventLog(__name__)

BAD_UPLOAD = "bad_upload"  # what the files are, not what this node allows: no other node would take them either
QUEUE_RETRY_SECONDS = 2
UNAVAILABLE_RETRY_SECONDS = 60


class ApiError(Exception):
    """An answer other than success, with its status and sentence."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def install(app: FastAPI) -> None:
    """Register the handlers."""
    for kind in (ManifestError, UploadError):
        app.add_exception_handler(kind, _not_acceptable)
    for busy in (QueueFullError, PoolClosedError, UnavailableError):
        app.add_exception_handler(busy, _not_now)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RateExceededError, _rate_exceeded)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


async def _not_acceptable(request: Request, error: Exception) -> JSONResponse:
    content = {"error": str(error)}
    if isinstance(error, UploadError | EntrypointError):
        content["reason"] = BAD_UPLOAD
    return JSONResponse(content, 400)


async def _not_now(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, QueueFullError):
        said, seconds = "this node's queue is full; try again shortly", QUEUE_RETRY_SECONDS
    elif isinstance(error, PoolClosedError):
        said, seconds = "this node is stopping", UNAVAILABLE_RETRY_SECONDS
    else:
        said, seconds = str(error), UNAVAILABLE_RETRY_SECONDS
    return _answer(503, said, {"Retry-After": str(seconds)})


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _answer(error.status, error.error, error.headers)


async def _rate_exceeded(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RateExceededError)
    body = {"error": str(error), "cpu_available": error.cpu_available, "active_jobs": error.active_jobs}
    return JSONResponse(body, 429, headers={"Retry-After": str(error.retry_after)})


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = [{"loc": list(each["loc"]), "msg": each["msg"], "type": each["type"]} for each in error.errors()]
    where = ".".join(str(part) for part in details[0]["loc"][1:])
    return JSONResponse({"error": f"{where}: {details[0]['msg']}", "detail": details}, 422)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = error.detail if error.detail else HTTPStatus(error.status_code).phrase
    return _answer(error.status_code, str(detail), dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.crash("a call failed", error, method=request.method, path=request.url.path)
    return _answer(500, "this node failed to answer; its log says why")


def _answer(status: int, error: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers=headers)
