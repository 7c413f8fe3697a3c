"""The calls that hand out what a job left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from sandrun.api import docs, models
from sandrun.api.errors import ApiError
from sandrun.api.routes import JobDep, ServiceDep
from sandrun.jobs.job import Job
from sandrun.names import UnsafeNameError, safe_path
from sandrun.outputs.collected import CollectedFile
from sandrun.outputs.pack import CHUNK_BYTES, tar_gz
from sandrun.service import Service

__all__ = ["Download", "router"]

#: A stranger's files may be pages: a browser must not run them in the name of this address.
SAFE_HEADERS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}


class AnyPath(PathConvertor):
    """As `path`, and line breaks too: a job may have put them into the names of its files."""

    regex = "(?s:.*)"


register_url_convertor("any_path", AnyPath())
router = APIRouter()


class Download(StreamingResponse):
    """Closes its source also when the client hangs up in the middle: the source holds files open, and keeps them."""

    def __init__(self, chunks: Generator[bytes, None, None], **options: Any) -> None:
        super().__init__(chunks, **options)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, then close the source."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # On a thread, since the last reader of a forgotten job deletes its files; to its end, also when cancelled.
            await asyncio.shield(asyncio.to_thread(self._chunks.close))


@router.get("/outputs/{job_id}", responses=docs.of(models.Outputs, docs.NOT_FOUND), response_model=None)
async def outputs(job: JobDep) -> dict[str, Any]:
    """The files that the job left, once it has ended."""
    return {
        "job_id": job.id,
        "status": job.status.value,
        "total_files": len(job.collected),
        "files": [
            {
                "name": path,
                "size": file.size,
                "size_formatted": _readable(file.size),
                "type": file.mime_type.partition("/")[0],
                "mime_type": file.mime_type,
                "sha256": file.sha256,
                "download_url": f"/download/{job.id}/{quoted(path)}",
            }
            for path, file in sorted(job.collected.items())
        ],
        "notes": job.collect_notes,
    }


@router.get("/download/{job_id}", responses=docs.DOWNLOAD_ALL, response_class=StreamingResponse)
async def download_all(job: JobDep, service: ServiceDep) -> StreamingResponse:
    """Every output in one tar.gz. When it has been sent, the job and its data are deleted."""
    if not job.status.terminal:
        raise ApiError(409, f"the job is {job.status.value}; its files can be had once it has ended")
    if not job.collected:
        raise ApiError(404, "the job left no files")
    return Download(
        _all_files(job, service),
        media_type="application/gzip",
        headers={"Content-Disposition": f'attachment; filename="{job.id}.tar.gz"'},
        background=BackgroundTask(asyncio.to_thread, service.store.forget, job),
    )


@router.get("/download/{job_id}/{path:any_path}", responses=docs.DOWNLOAD_ONE, response_class=StreamingResponse)
async def download_one(request: Request, job: JobDep, service: ServiceDep, path: str) -> StreamingResponse:
    """One output file with its MIME type. The path's bytes, percent-encoded, are the name that the job gave it."""
    wanted = _raw_path(request, path)
    file = job.collected.get(wanted)
    if file is None:
        try:
            file = job.collected.get(safe_path(path))
        except UnsafeNameError as error:
            raise ApiError(403, str(error)) from None
    if file is None:
        raise ApiError(404, "the job left no such file; GET /outputs lists those it left")
    headers = {
        **SAFE_HEADERS,
        "Content-Length": str(file.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quoted(file.path.rpartition('/')[2])}",
    }
    return Download(_one_file(job, service, file), media_type=file.mime_type, headers=headers)


def quoted(path: str) -> str:
    """The path's bytes, percent-encoded."""
    return quote(path.encode("utf-8", "surrogateescape"))


def _raw_path(request: Request, path: str) -> str:
    """The file's path as bytes were sent: what the server decoded has lost those that are no UTF-8."""
    raw: bytes = request.scope.get("raw_path") or b""
    _, _, rest = raw.partition(b"?")[0].removeprefix(b"/download/").partition(b"/")
    return unquote_to_bytes(rest).decode("utf-8", "surrogateescape") if rest else path


def _all_files(job: Job, service: Service) -> Generator[bytes, None, None]:
    """Iterated on a worker thread, where reading files holds up nobody."""
    with service.reading(job):
        yield from tar_gz(job.collected, job.created)


def _one_file(job: Job, service: Service, file: CollectedFile) -> Generator[bytes, None, None]:
    with service.reading(job), file.stored.open("rb") as content:
        while data := content.read(CHUNK_BYTES):
            yield data


def _readable(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
