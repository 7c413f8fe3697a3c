"""Following a job over a WebSocket, in the words of sandrun's clients: output as it is, `[STDERR]` before standard
error, `[STATUS] word` at a change, `[DONE] …` last."""

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from broker.domain.words import JobStatus
from broker.errors import BrokerError
from broker.service.broker import Broker
from broker.service.live.follow import AttemptBegan, Cursor, Ended, Event, Gap, KeepAlive, Output, StatusChanged, follow

__all__ = ["serve_stream"]

POLICY_VIOLATION = 1008  # RFC 6455: there is no such job
TRY_AGAIN_LATER = 1013  # registered with IANA: overloaded
GOING_AWAY = 1001
SEND_SECONDS = 30
_WORDS = {
    JobStatus.PENDING: "queued",
    JobStatus.ASSIGNED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
}


async def serve_stream(broker: Broker, job_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket until the job or the client has ended."""
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    gone = asyncio.ensure_future(_until_gone(websocket))
    sending = asyncio.ensure_future(_send_all(broker, job_id, websocket))
    try:
        await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, sending):
            task.cancel()
        await asyncio.gather(gone, sending, return_exceptions=True)


async def _until_gone(websocket: WebSocket) -> None:
    """Ends when the client does; what it sends is of no interest."""
    with contextlib.suppress(WebSocketDisconnect, KeyError):
        while True:
            await websocket.receive()
            if websocket.client_state.name == "DISCONNECTED":
                return


async def _send_all(broker: Broker, job_id: str, websocket: WebSocket) -> None:
    code = GOING_AWAY
    status = ""
    with contextlib.suppress(WebSocketDisconnect, TimeoutError):
        try:
            async with contextlib.aclosing(follow(broker.live, broker.queries, job_id, Cursor())) as events:  # type: ignore[type-var]
                async for event in events:
                    text, status = _text(event, status)
                    if text:
                        async with asyncio.timeout(SEND_SECONDS):
                            await websocket.send_text(text)
                    if isinstance(event, Ended):
                        code = 1000
        except BrokerError as error:
            code = POLICY_VIOLATION if error.reason != "overloaded" else TRY_AGAIN_LATER
            await websocket.send_text(f"[ERROR] {error.message}")
        await websocket.close(code)


def _text(event: Event, status: str) -> tuple[str, str]:
    """What a client reads of an event, and the status that it knows afterwards."""
    match event:
        case StatusChanged():
            word = _WORDS[event.status]
            return ("" if word == status else f"[STATUS] {word}"), word
        case AttemptBegan(number=number) if number > 1:
            return f"[STATUS] running again (attempt {number})", "running"
        case Output():
            prefix = "[STDERR]" if event.stream == "stderr" else ""
            return prefix + event.data.decode("utf-8", "replace"), status
        case Gap():
            return f"\n[sandrun: {event.end - event.start} bytes cut here]\n", status
        case Ended():
            return _farewell(event), status
        case KeepAlive() | AttemptBegan():
            return "", status


def _farewell(event: Ended) -> str:
    job = event.result.job
    code = f" exit code {job.exit_code}" if job.exit_code is not None else ""
    why = f" ({job.failure.value})" if job.failure else ""
    return f"[DONE] Job {_WORDS[job.status]}{code}{why}"
