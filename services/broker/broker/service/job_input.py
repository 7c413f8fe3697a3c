"""What a submitted job comes to: what it asks of a node, what the node needs to run it, its size and its identity."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from broker.domain.limits import JOB_BYTES
from broker.domain.placement import JobClass
from broker.errors import InvalidFieldError
from broker.store.records.job import StoredFile
from broker.wire.jobs import SubmitJob, UploadJob

__all__ = ["Uploads", "body_hash", "class_of", "dedupe_key", "environment_of", "moment", "owned", "size_of", "spec_of"]

Uploads = Sequence[StoredFile]
"""The parts of a multipart submit; `path` is the name that the client gave."""
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_SPEC_FIELDS = ("args", "stdin", "env", "files", "entrypoint", "outputs", "memory_mb", "cpu_seconds", "environment")
_SANDRUN_LIMITS = ("processes", "open_files", "disk_mb", "file_size_mb", "inodes", "output_mb")


def size_of(job: SubmitJob, spec: str | None, uploads: Uploads) -> int:
    """What a job and its input take, in bytes."""
    texts = (job.code or "", spec or "", *(part for label in job.labels.items() for part in label))
    own = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    return JOB_BYTES + own + sum(file.size for file in uploads)


def owned(text: str, owner: str | None) -> str:
    """A text that means something among one owner's only. NUL is in no header."""
    return text if owner is None else f"{owner}\0{text}"


def class_of(job: SubmitJob) -> JobClass:
    """What the job asks of a node."""
    wants, likes = job.requires, job.prefer
    needs = tuple(name for name, given in (("env", job.env), ("stdin", job.stdin)) if given)
    environment = environment_of(job)
    memory_mb = JobClass.memory_step(job.memory_mb)
    if wants is None and likes is None:
        return JobClass(job.interpreter, memory_mb, needs=needs, environment=environment)
    near = likes.near if likes else None
    return JobClass(
        interpreter=job.interpreter,
        memory_mb=memory_mb,
        gpu=bool(wants and wants.gpu),
        min_cpu_cores=JobClass.core_step(wants.min_cpu_cores if wants else None),
        labels=tuple(sorted(wants.labels.items())) if wants else (),
        region=wants.region if wants else None,
        prefer_region=likes.region if likes else None,
        prefer_near=(round(near.latitude), round(near.longitude)) if near else None,
        needs=needs,
        environment=environment,
    )


def environment_of(job: SubmitJob) -> str | None:
    """The prepared environment that it names; jobs in JSON cannot name one."""
    return job.environment if isinstance(job, UploadJob) else None


def moment(value: float | datetime | None, now: float, field: str) -> float | None:
    """Seconds from now, or a point in time, as a point in time."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        return now + value
    if value.tzinfo is None:
        raise InvalidFieldError(field, f"{field} needs a time zone, as in 2030-01-31T12:00:00+00:00.")
    at = value.timestamp()
    if not 0 <= at <= LATEST:  # with its zone a time can lie outside the calendar, and could then never be shown
        raise InvalidFieldError(field, f"{field} must lie between 1970 and 9998.")
    return at


def spec_of(job: SubmitJob, uploads: Uploads) -> str | None:
    """What the node needs beside the code; None for a plain job."""
    if not uploads and not job.model_fields_set & set(_SPEC_FIELDS):
        return None
    given = job.model_dump(include=set(_SPEC_FIELDS), exclude_defaults=True)
    if uploads:
        given["uploads"] = [{"name": file.path, "sha256": file.sha256, "size": file.size} for file in uploads]
        limits = job.model_dump(include=set(_SANDRUN_LIMITS), exclude_none=True)
        given |= {"limits": limits} if limits else {}
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")) if given else None


def dedupe_key(job: SubmitJob, timeout: float, spec: str | None) -> str:
    """Equal for jobs that run the same program on the same input within the same limits, verified alike."""
    parts = [job.interpreter, job.code, timeout, json.loads(spec) if spec else None, class_of(job).key()]
    return _digest(parts if job.verify is None else [*parts, job.verify.replicas, job.verify.needed])


def body_hash(jobs: Sequence[SubmitJob], uploads: Uploads) -> str:
    """Equal for submits of the same jobs with the same files: what an idempotency key stands for."""
    bodies: list[Any] = [job.model_dump(mode="json", exclude_unset=True) for job in jobs]
    return _digest([*bodies, *([file.path, file.sha256] for file in uploads)])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
