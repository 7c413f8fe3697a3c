"""Reading bodies: never more than allowed into memory, never for longer than allowed, and only JSON that is sound."""

import asyncio
import json
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from broker.api.errors import HttpError
from broker.api.state import broker_of, header_of
from broker.errors import OverloadedError
from broker.shell.limits import DRAIN_BYTES
from broker.wire.amount import MAX_VALUES, MAX_VALUES_OF_A_JOB, holds_more_values

__all__ = ["Gathered", "read_body", "read_json"]

Model = TypeVar("Model", bound=BaseModel)

NODE_PATHS = frozenset(
    {"/register", "/heartbeat", "/link", "/claim", "/start", "/progress", "/complete", "/complete/batch", "/release"}
)
"""Calls of nodes may be larger, because they carry outputs, and their text is mended rather than refused."""


LOGIN_BYTES, LOGIN_SECONDS = 4096, 5.0
"""The one body that is read from whoever has shown no key."""
MAX_LEVELS = 200
"""Lists and objects within each other: what pydantic reads; Python's own reader goes deeper than pydantic writes."""

PATIENT_BYTES = 64 * 1024
"""Bodies up to this size are always read; they are bounded by the number of connections."""
MAX_GATHERED_BYTES = 256 * 1024 * 1024
"""Larger bodies that are being read at the same time, together: a quarter of the bundle's memory for the broker."""


class Gathered:
    """Bytes of one larger body that are in memory while it is not whole yet; `total` counts all bodies'."""

    total: ClassVar[int] = 0

    def __init__(self) -> None:
        self._counted = 0

    def grew_to(self, size: int) -> None:
        """Note how much there is of this one. OverloadedError when there is too much of all together."""
        if size <= PATIENT_BYTES:
            return
        if Gathered.total > MAX_GATHERED_BYTES:
            raise OverloadedError("Too many large bodies arrive at once: try again later.")
        Gathered.total += size - self._counted
        self._counted = size

    def over(self) -> None:
        """It is whole, or will never be."""
        Gathered.total -= self._counted
        self._counted = 0


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body as a model. HttpError 400, 408, 413, 415; pydantic's ValidationError for fields."""
    settings = broker_of(request).settings
    node_call = request.scope["path"] in NODE_PATHS
    limit = settings.max_node_body_bytes if node_call else settings.max_body_bytes
    kind = header_of(request, b"content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Insisting on it also keeps web pages of strangers from calling a broker on the reader's own machine.
        raise HttpError(415, "Send JSON, with the header Content-Type: application/json.")
    seconds = settings.body_timeout
    if request.scope["path"] == "/session":
        limit, seconds = LOGIN_BYTES, min(LOGIN_SECONDS, seconds)
    body = await read_body(request, limit, seconds)
    most = MAX_VALUES_OF_A_JOB if request.scope["path"] == "/submit" else MAX_VALUES
    if holds_more_values(body, most):
        raise HttpError(422, f"The body holds more than {most} values: send less at a time.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise
        message = str(error.errors(include_url=False, include_input=False)[0]["msg"])
    mended = _without_lone_surrogates(body)
    if mended is None:
        raise HttpError(400, f"The body is not JSON: {message.removeprefix('Invalid JSON: ')}.")
    if not node_call:
        raise HttpError(
            400, "The body holds half of a UTF-16 pair (\\ud800 to \\udfff), which is no text: send bytes as base64."
        )
    return model.model_validate(mended)


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """The whole body, of at most `limit` bytes, arriving within `seconds`."""
    declared = header_of(request, b"content-length")
    if declared and int(declared) > limit:  # the parser saw to it that it is a number
        raise _too_large(limit, close=int(declared) > limit + DRAIN_BYTES)
    message = await _receive(request, seconds)
    if not message.get("more_body"):
        body = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return bytes(body)
    return await _read_rest(request, bytearray(message["body"]), limit, seconds)


async def _read_rest(request: Request, body: bytearray, limit: int, seconds: float) -> bytes:
    give_up = asyncio.get_running_loop().time() + seconds
    more = True
    gathered = Gathered()
    try:
        while more:
            if len(body) > limit:
                raise _too_large(limit)
            gathered.grew_to(len(body))
            message = await _receive(request, give_up - asyncio.get_running_loop().time())
            body += message.get("body", b"")
            more = message.get("more_body", False)
    finally:
        gathered.over()
    if len(body) > limit:
        raise _too_large(limit)
    return bytes(body)


async def _receive(request: Request, seconds: float) -> Message:
    if "whole" in request.scope:  # the shell has all of it (broker.shell.protocol): a limit would only cost time
        message = await request.receive()
    else:
        try:
            async with asyncio.timeout(seconds):
                message = await request.receive()
        except TimeoutError:
            raise HttpError(408, "The body did not arrive in time.", close=True) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _too_large(limit: int, *, close: bool = False) -> HttpError:
    return HttpError(413, f"The body is larger than {limit} bytes.", close=close)


def _without_lone_surrogates(body: bytes) -> Any:
    """The body's content with U+FFFD for each lone surrogate (Python programs send them for bytes that are no UTF-8);
    None when something else is wrong with it."""
    if rb"\ud" not in body.lower():
        return None
    try:
        return _mend(json.loads(body, parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _mend(value: Any, levels: int = MAX_LEVELS) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if levels == 0:
        raise ValueError("nested too deep")
    if isinstance(value, list):
        return [_mend(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {_mend(key, 1): _mend(item, levels - 1) for key, item in value.items()}
    return value
