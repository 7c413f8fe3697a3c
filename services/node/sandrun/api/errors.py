"""Every error leaves as JSON with `error`, a sentence; nothing else ever does."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sandrun.jobs.manifest import ManifestError
from sandrun.jobs.pool import PoolClosedError, QueueFullError
from sandrun.jobs.rates import RateExceededError
from sandrun.jobs.uploads import UploadError
from sandrun.service import UnavailableError

__all__ = ["ApiError", "install"]

log = logging.getLogger(__name__)

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

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return _answer(error.status, error.error, error.headers)

    @app.exception_handler(ManifestError)
    async def manifest_error(request: Request, error: ManifestError) -> JSONResponse:
        return _answer(400, str(error))

    @app.exception_handler(UploadError)
    async def upload_error(request: Request, error: UploadError) -> JSONResponse:
        return _answer(400, str(error))

    @app.exception_handler(QueueFullError)
    async def queue_full(request: Request, error: QueueFullError) -> JSONResponse:
        return _answer(503, "this node's queue is full; try again shortly", {"Retry-After": str(QUEUE_RETRY_SECONDS)})

    @app.exception_handler(PoolClosedError)
    async def stopping(request: Request, error: PoolClosedError) -> JSONResponse:
        return _answer(503, "this node is stopping", {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)})

    @app.exception_handler(UnavailableError)
    async def unavailable(request: Request, error: UnavailableError) -> JSONResponse:
        return _answer(503, str(error), {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)})

    @app.exception_handler(RateExceededError)
    async def rate_exceeded(request: Request, error: RateExceededError) -> JSONResponse:
        body = {"error": str(error), "cpu_available": error.cpu_available, "active_jobs": error.active_jobs}
        return JSONResponse(body, 429, headers={"Retry-After": str(error.retry_after)})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        details = [{"loc": list(each["loc"]), "msg": each["msg"], "type": each["type"]} for each in error.errors()]
        first = details[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{where}: {first['msg']}", "detail": details}, 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        detail = error.detail if error.detail else HTTPStatus(error.status_code).phrase
        return _answer(error.status_code, str(detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _answer(500, "this node failed to answer; its log says why")


def _answer(status: int, error: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers=headers)
