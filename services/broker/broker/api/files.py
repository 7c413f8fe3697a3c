"""What jobs left, for their owners: listed, one by one, and all at once."""

import mimetypes
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import OutputsAnswer, errors
from broker.api.blob_response import BlobResponse
from broker.api.errors import HttpError
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.sandrun_words import WORDS
from broker.api.state import broker_of
from broker.api.tarball import TarResponse
from broker.service.submit import SANDRUN
from broker.store.records.job import Job, StoredFile

__all__ = ["artifact_json", "router"]

router = APIRouter(route_class=LeanRoute, tags=["files and output"])

_STRANGERS_CONTENT = {
    # Whatever a job wrote must not run in the broker's origin, nor be taken for something else than it is called.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-cache",
}
GZIP = {"content": {"application/gzip": {}}, "description": "A tar.gz"}
DOWNLOAD = {"content": {"application/octet-stream": {}}, "description": "The bytes"}


@router.get("/outputs/{job_id}", response_model=OutputsAnswer, responses=errors(404, 410, 422, 503))
async def outputs(request: Request, job_id: str) -> Response:
    """The files that an ended job left."""
    job = await broker_of(request).queries.job(job_id)
    files = await _files_of(request, job)
    return Json(
        {
            "job_id": job_id,
            "status": WORDS[job.status] if job.dialect == SANDRUN else job.status.value,
            "total_files": len(files),
            "files": [_output_json(job_id, file) for file in files],
        }
    )


@router.head("/download/{job_id}", responses=errors(404, 410, 422, 503) | {200: GZIP})
@router.get(
    "/download/{job_id}",
    responses=errors(404, 410, 422, 503) | {200: GZIP},
)
async def download_all(request: Request, job_id: str) -> Response:
    """Every file as one tar.gz. They stay until RESULT_TTL is over."""
    broker = broker_of(request)
    job = await broker.queries.job(job_id)
    if job.completed_at is None:
        raise HttpError(404, "The job has not ended: its files come with its end.")
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.tar.gz"', **_STRANGERS_CONTENT}
    return TarResponse(request, broker.files, await _files_of(request, job), job.completed_at, headers)


@router.head("/download/{job_id}/{path}", responses=errors(403, 404, 410, 422, 503) | {200: DOWNLOAD})
@router.get(
    "/download/{job_id}/{path}",
    responses=errors(403, 404, 410, 422, 503)
    | {200: DOWNLOAD, 206: DOWNLOAD, 304: {"description": "Unchanged"}}
    | {416: {"description": "No such range"}},
)
async def download(request: Request, job_id: str, path: str) -> Response:
    """One file, with ranges and conditional requests."""
    broker = broker_of(request)
    await broker.queries.job(job_id)
    if path.startswith("/") or ".." in path.split("/"):
        raise HttpError(403, "The path leads out of the job's folder.")
    file = await broker.files.artifact(job_id, path)
    if file is None:
        raise HttpError(404, f"The job left no such file; GET /outputs/{job_id} lists them.")
    headers = {"Content-Type": mime_of(file), "Content-Disposition": _disposition(path), **_STRANGERS_CONTENT}
    return BlobResponse(request, await broker.files.open_artifact(file), file.sha256, headers)


async def _files_of(request: Request, job: Job) -> list[StoredFile]:
    return list(await broker_of(request).files.artifacts(job.id)) if job.file_count else []


def artifact_json(job_id: str, file: StoredFile) -> dict[str, Any]:
    """A file as /results shows it."""
    return {
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "mime": mime_of(file),
        "download_url": f"/download/{job_id}/{quote(file.path)}",
    }


def _output_json(job_id: str, file: StoredFile) -> dict[str, Any]:
    mime = mime_of(file)
    return {
        "name": file.path,
        "size": file.size,
        "size_formatted": _formatted(file.size),
        "type": mime.partition("/")[0],
        "mime_type": mime,
        "sha256": file.sha256,
        "download_url": f"/download/{job_id}/{quote(file.path)}",
    }


def mime_of(file: StoredFile) -> str:
    """The file's type by the node's word, else by its name; only what is a type and nothing else."""
    said = file.mime or mimetypes.guess_type(file.path)[0] or ""
    kind, _, rest = said.partition("/")
    plain = all(part and part.replace("-", "").replace("+", "").replace(".", "").isalnum() for part in (kind, rest))
    return said if plain and said.isascii() else "application/octet-stream"


def _formatted(size: int) -> str:
    """As sandrun writes sizes: 512 B, 1.5 KB, 3.0 MB."""
    amount = float(size)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{int(amount)} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def _disposition(path: str) -> str:
    """A name that no header can be smuggled in with: ASCII without quotes, and the true one as RFC 5987 has it."""
    name = path.rpartition("/")[2] or "file"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
