"""What a job prints, while it prints it and afterwards: as JSON, and as server-sent events."""

import base64
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import LogsAnswer, errors
from broker.api.errors import HttpError
from broker.api.lean import LeanRoute
from broker.api.render import Json, result_json
from broker.api.sandrun_words import WORDS
from broker.api.sse import KEEP_ALIVE, EventStream, sse
from broker.api.state import broker_of
from broker.errors import GoneError, NotFoundError
from broker.service.live.follow import (
    AttemptBegan,
    Cursor,
    Ended,
    Event,
    Gap,
    KeepAlive,
    Output,
    StatusChanged,
    follow,
)
from broker.service.live.snapshot import Snapshot, StreamText, take
from broker.service.submit import SANDRUN

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["files and output"])

MAX_WAIT_SECONDS = 60
Offset = Annotated[int, Query(ge=0, le=2**53, description="Only what was printed from this byte on.")]
_ID = re.compile(r"(\d{1,18})\.(\d{1,16})\.(\d{1,16})(\.end)?", re.ASCII)
"""A fence, which has 16 digits after a start of the broker (adr/0018), and two offsets."""


@router.get(
    "/logs/{job_id}",
    response_model=LogsAnswer,
    responses=errors(404, 410, 422, 503)
    | {200: {"content": {"text/event-stream": {}}}, 204: {"description": "The reader has had everything."}},
)
async def logs(
    request: Request,
    job_id: str,
    stdout_from: Offset = 0,
    stderr_from: Offset = 0,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for more.")] = 0,
    encoding: Annotated[str, Query(pattern="^(text|base64)$", description="base64: the exact bytes")] = "text",
    follow: Annotated[bool, Query(description="Server-sent events, as with Accept: text/event-stream.")] = False,
    last_event_id: Annotated[str | None, Query(max_length=64, description="As the header Last-Event-ID.")] = None,
) -> Response:
    """What the job has printed so far. As text/event-stream: `attempt`, `status`, `stdout`, `stderr`, `gap`, `end`."""
    if follow or "text/event-stream" in request.headers.get("accept", ""):
        return await _follow(request, job_id, request.headers.get("last-event-id") or last_event_id)
    broker = broker_of(request)
    snapshot = await take(broker.live, broker.queries, job_id, (stdout_from, stderr_from), wait)
    return Json(_snapshot_json(job_id, snapshot, encoding))


async def _follow(request: Request, job_id: str, last_id: str | None) -> Response:
    cursor = _cursor(last_id)
    if cursor.ended:
        return Response(status_code=204)  # tells an EventSource not to come again
    broker = broker_of(request)
    events = follow(broker.live, broker.queries, job_id, cursor)
    try:
        first = await anext(events)  # errors are answered as such, before the stream begins
    except StopAsyncIteration:
        raise HttpError(503, "The broker is stopping: try again in a moment.") from None
    return EventStream(_blocks(first, events))


async def _blocks(first: Event, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    yield _block(first)
    try:
        async for event in events:
            yield _block(event)
    except (NotFoundError, GoneError) as error:
        yield sse("end", to_json({"error": error.message}))
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator


def _block(event: Event) -> bytes:
    place = event.cursor
    event_id = f"{place.fence}.{place.stdout}.{place.stderr}" + (".end" if place.ended else "")
    match event:
        case KeepAlive():
            return KEEP_ALIVE
        case StatusChanged():
            return sse("status", to_json({"status": event.status.value}), event_id)
        case AttemptBegan():
            shown = {"attempt": event.number, "fence": place.fence, "node_id": event.node_id}
            return sse("attempt", to_json(shown), event_id)
        case Gap():
            return sse("gap", to_json({"stream": event.stream, "from": event.start, "to": event.end}), event_id)
        case Output():
            return sse(event.stream, to_json({"offset": event.offset, **_text_or_bytes(event.data)}), event_id)
        case Ended():
            content = result_json(event.result)
            verdict = {name: content[name] for name in content if name not in ("output", "error")}
            return sse("end", to_json(verdict), event_id)


def _text_or_bytes(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _cursor(last_id: str | None) -> Cursor:
    if not last_id:
        return Cursor()
    match = _ID.fullmatch(last_id)
    if match is None:
        raise HttpError(422, "Last-Event-ID must be the id of an event of this stream, or absent.")
    return Cursor(int(match[1]), int(match[2]), int(match[3]), ended=match[4] is not None)


def _snapshot_json(job_id: str, snapshot: Snapshot, encoding: str) -> dict[str, Any]:
    job = snapshot.job
    content: dict[str, Any] = {
        "job_id": job_id,
        "status": WORDS[job.status] if job.dialect == SANDRUN else job.status.value,
        "attempt": job.attempt,
        "fence": job.fence,
        "stdout": "",
        "stderr": "",
    }
    for name, stream in snapshot.streams.items():
        content |= _stream_json(name, stream, encoding)
    return content


def _stream_json(name: str, stream: StreamText, encoding: str) -> dict[str, Any]:
    """With base64 the bytes as they are, and no text."""
    places = {f"{name}_from": stream.start, f"{name}_next": stream.start + len(stream.data)}
    if encoding == "base64":
        return {name: "", f"{name}_base64": base64.b64encode(stream.data).decode(), **places}
    return {name: stream.data.decode("utf-8", "replace"), **places}
