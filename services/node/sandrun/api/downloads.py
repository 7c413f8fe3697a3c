"""The calls that hand out what a job left behind."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from sandrun.api import docs, models
from sandrun.api.errors import ApiError
from sandrun.api.routes import JobDep, ServiceDep
from sandrun.jobs.job import Job
from sandrun.names import UnsafeNameError, safe_path
from sandrun.service import Service

__all__ = ["router"]

#: A stranger's files may be pages: a browser must not run them in the name of this address.
SAFE_HEADERS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}

router = APIRouter()


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
                "download_url": f"/download/{job.id}/{quote(path)}",
            }
            for path, file in sorted(job.collected.items())
        ],
        "notes": job.collect_notes,
    }


@router.get("/download/{job_id}", responses=docs.DOWNLOAD_ALL, response_class=FileResponse)
async def download_all(job: JobDep, service: ServiceDep) -> FileResponse:
    """Every output in one tar.gz. When it has been sent, the job and its data are deleted."""
    if not job.status.terminal:
        raise ApiError(409, f"the job is {job.status.value}; its files can be had once it has ended")
    if not job.collected:
        raise ApiError(404, "the job left no files")
    packed = await asyncio.to_thread(_pack, job, service.spool_file(f"{job.id}.tar.gz"))
    return FileResponse(
        packed,
        media_type="application/gzip",
        filename=f"{job.id}.tar.gz",
        background=BackgroundTask(_sent, service, job, packed),
    )


@router.get("/download/{job_id}/{path:path}", responses=docs.DOWNLOAD_ONE, response_class=FileResponse)
async def download_one(job: JobDep, path: str) -> FileResponse:
    """One output file with its MIME type."""
    try:
        wanted = safe_path(path)
    except UnsafeNameError as error:
        raise ApiError(403, str(error)) from None
    file = job.collected.get(wanted)
    if file is None:
        raise ApiError(404, "the job left no such file; GET /outputs lists those it left")
    return FileResponse(
        file.stored, media_type=file.mime_type, filename=wanted.rpartition("/")[2], headers=SAFE_HEADERS
    )


def _pack(job: Job, target: Path) -> Path:
    """Write the archive. Owners, times and modes are the same for everybody: the content is what counts."""
    try:
        with tarfile.open(target, "w:gz", compresslevel=1) as archive:
            for path, file in sorted(job.collected.items()):
                entry = tarfile.TarInfo(path)
                entry.size = file.size
                entry.mode = 0o644
                entry.mtime = int(job.created)
                with file.stored.open("rb") as content:
                    archive.addfile(entry, content)
    except FileNotFoundError:  # another download has finished meanwhile, and the data went with it
        target.unlink(missing_ok=True)
        raise ApiError(404, "Job not found") from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ApiError(503, f"this node cannot store the archive ({error.strerror})", Retry_After="10") from None
    return target


async def _sent(service: Service, job: Job, packed: Path) -> None:
    await asyncio.to_thread(packed.unlink, missing_ok=True)
    await asyncio.to_thread(service.store.forget, job)


def _readable(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
