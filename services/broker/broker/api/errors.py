"""Errors as JSON: `error` is a sentence, `reason` a word for programs, `detail` the fields and where they are."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from broker.api.render import Json
from broker.errors import (
    BrokerError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidFieldError,
    LimitError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from broker.logs import EventLog

__all__ = ["HttpError", "error_response", "validation_response"]

log = EventLog(__name__)

_STATUS: tuple[tuple[type[BrokerError], int], ...] = (
    (InvalidFieldError, 422),
    (NotFoundError, 404),
    (GoneError, 410),
    (ConflictError, 409),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (LimitError, 429),
    (TooLargeError, 413),
    (StorageFullError, 507),
    (UnavailableError, 503),
)
MAX_DETAILS = 20
"""Wrong fields that are named in one answer."""


class HttpError(Exception):
    """Something wrong with the request as HTTP. `close`: the connection cannot be used again."""

    def __init__(self, status: int, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.close = close


def error_response(error: Exception) -> Response:
    """The answer to any exception; what nobody foresaw is logged and answered with 500 and no detail."""
    if isinstance(error, HttpError):
        return Json({"error": error.message}, error.status, {"Connection": "close"} if error.close else None)
    if isinstance(error, InvalidFieldError):
        detail = [{"loc": ["body", *error.field.split(".")], "msg": error.message, "type": "value_error"}]
        content: dict[str, Any] = {"error": error.message, "detail": detail}
        return Json(content | ({"reason": error.reason} if error.reason else {}), 422)
    if isinstance(error, BrokerError):
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        content = {"error": error.message, **error.facts}
        if error.reason is not None:
            content["reason"] = error.reason
        headers = {}
        if isinstance(error, UnavailableError | LimitError):
            headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, LimitError):
            content["limit"] = error.limit
        if isinstance(error, UnauthorizedError):
            headers["WWW-Authenticate"] = 'Bearer realm="sandrun"'
        return Json(content, status, headers)
    if isinstance(error, ClientDisconnect):
        return Json({"error": "The caller hung up."}, 400)
    log.crash("a call failed", error)
    return Json({"error": "The broker failed on this call; its log says why."}, 500)


def validation_response(error: ValidationError, where: str) -> Response:
    """422 with every wrong field, where it is (`where`: body or query) and what would be right."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    detail = [{"loc": [where, *problem["loc"]], "msg": _say(problem), "type": problem["type"]} for problem in problems]
    first = detail[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    sentence = f"{place}: {first['msg']}" if place else str(first["msg"])
    more = f" ({len(detail) - 1} more in detail)" if len(detail) > 1 else ""
    return Json({"error": sentence + more, "detail": detail[:MAX_DETAILS]}, 422)


def _say(problem: Mapping[str, Any]) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        return "is not a field of this call, or not supported yet"
    if kind == "missing":
        return "is missing"
    if kind in ("model_type", "model_attributes_type"):
        return "must be a JSON object"
    return str(problem["msg"]).removeprefix("Value error, ")
