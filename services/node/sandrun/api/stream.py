"""Following a job over a WebSocket: what it has printed, then what it prints, as it prints it."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from sandrun.api import views
from sandrun.jobs.job import Job, JobStatus
from sandrun.sandbox.output import OutputBuffer
from sandrun.service import Service

__all__ = ["router"]

#: Sent when nothing else is, so that proxies keep the connection and dead ones are noticed.
IDLE_SECONDS = 15.0
POLICY_VIOLATION = 1008  # RFC 6455: what we close with when there is no such job

router = APIRouter()


@router.websocket("/stream/{job_id}")
async def stream(websocket: WebSocket, job_id: str) -> None:
    """Text frames: output as it is, `[STDERR]` before standard error, `[STATUS] word` at a change, `[DONE] …` last."""
    await websocket.accept()
    service: Service = websocket.app.state.service
    job = service.store.get(job_id)
    if job is None:
        await websocket.send_text("[ERROR] Job not found")
        await websocket.close(POLICY_VIOLATION)
        return
    gone = asyncio.create_task(_until_gone(websocket))
    follow = asyncio.create_task(_follow(websocket, job))
    try:
        await asyncio.wait((gone, follow), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, follow):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await task


async def _until_gone(websocket: WebSocket) -> None:
    """Ends when the client does; what it sends is of no interest."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.receive_text()


async def _follow(websocket: WebSocket, job: Job) -> None:
    shown: JobStatus | None = None
    stdout_at = stderr_at = 0
    while True:
        seen = job.progress.version
        status = job.status
        if status is not shown and not status.terminal:
            await websocket.send_text(f"[STATUS] {status.value}")
            shown = status
        stdout_at = await _send(websocket, job.stdout, stdout_at, "", final=status.terminal)
        stderr_at = await _send(websocket, job.stderr, stderr_at, "[STDERR]", final=status.terminal)
        if status.terminal:
            await websocket.send_text(_farewell(job))
            await websocket.close()
            return
        await job.progress.changed(seen, IDLE_SECONDS)


async def _send(websocket: WebSocket, buffer: OutputBuffer, offset: int, prefix: str, *, final: bool) -> int:
    """Send what there is from `offset` on; returns where to go on. What was cut meanwhile is told."""
    while True:
        found = buffer.read_from(offset)
        if found.start > offset:
            await websocket.send_text(views.cut_marker(found.start - offset).decode("ascii"))
        text, after = views.stream_text(found, final=final)
        if text:
            await websocket.send_text(prefix + text)
        if after == offset or after >= buffer.total:
            return after
        offset = after


def _farewell(job: Job) -> str:
    outcome = job.outcome
    assert outcome is not None
    code = f" exit code {outcome.exit_code}" if outcome.exit_code is not None else ""
    why = f" ({outcome.failure})" if outcome.failure else ""
    return f"[DONE] Job {job.status.value}{code}{why}"
