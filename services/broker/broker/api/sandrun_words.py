"""Jobs as sandrun's clients know them. Who submits as sandrun's clients do, by multipart, is answered in its words."""

import json
from collections.abc import Sequence
from typing import Any

from broker.api.render import job_json
from broker.domain.words import JobStatus
from broker.service.reasons import Told
from broker.store.records.job import Result, StoredFile

__all__ = ["WORDS", "status_json"]

MIB = 1024 * 1024
WORDS = {
    JobStatus.PENDING: "queued",
    JobStatus.ASSIGNED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
}


def status_json(result: Result, files: Sequence[StoredFile], told: Told) -> dict[str, Any]:
    """The body of sandrun's /status, with the broker's own fields beside it."""
    job = result.job
    details: dict[str, Any] = json.loads(result.details) if result.details else {}
    said: dict[str, Any] = details.get("execution") or {}
    return {
        **job_json(job, told),
        "status": WORDS[job.status],
        "queue_position": told.waiting.place.position or 0 if told.waiting and told.waiting.place else 0,
        "execution_metadata": _execution(details, said, job.interpreter, job.exit_code),
        "job_hash": said.get("job_hash"),
        "output_files": {
            file.path: {"size_bytes": file.size, "sha256": file.sha256, "type": file.mime or ""} for file in files
        },
        "worker_metadata": {"worker_id": said.get("worker_id"), "signature": said.get("signature")},
    }


def _execution(
    details: dict[str, Any], said: dict[str, Any], interpreter: str, exit_code: int | None
) -> dict[str, Any]:
    usage: dict[str, Any] = details.get("usage") or {}
    peak = usage.get("memory_peak_bytes") or 0
    return {
        "cpu_seconds": usage.get("cpu_seconds") or 0.0,
        "memory_peak_bytes": peak,
        "memory_peak_mb": round(peak / MIB, 2),
        "wall_time_ms": round((usage.get("wall_seconds") or 0.0) * 1000, 3),
        "exit_code": exit_code,
        "environment": said.get("environment") or "",
        "interpreter": interpreter,
        "limit_hit": details.get("limit"),
    }
