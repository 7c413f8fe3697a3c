"""Records as the JSON that clients and nodes see."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from broker.clock import iso
from broker.domain.words import Failure
from broker.service.reasons import NOTHING, Told, why_failed
from broker.service.waiting import Waiting
from broker.store.records.attempt import Attempt, ClaimedJob, Lost, Ref
from broker.store.records.job import Job, Result

__all__ = ["Json", "attempt_json", "claimed_json", "job_json", "lost_json", "ref_json", "result_json"]


_WITHOUT_OUTPUT = (
    Failure.NODE_LOST,
    Failure.PLATFORM,
    Failure.EXPIRED,
    Failure.REJECTED,
    Failure.CANCELLED,
    Failure.VERIFICATION,
)
"""Failures of which the program may know nothing: who reads its error output only is told, too."""


_JSON = (b"content-type", b"application/json")


class Json(Response):
    """A JSON answer, built without going through response models, nor through Response's own making of headers."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.status_code = status_code
        self.background = None
        self.body = body = to_json(content)
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]
        if headers:
            self.headers.update(headers)


def job_json(job: Job, told: Told = NOTHING) -> dict[str, Any]:
    """A job as /status shows it."""
    return {
        "job_id": job.id,
        "status": job.status.value,
        "node_id": job.node_id,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
        "expires_at": iso(job.expires_at),
        "interpreter": job.interpreter,
        "timeout": job.timeout,
        "priority": job.priority,
        "submitter": job.submitter,
        "owner": job.owner,
        "labels": job.labels,
        "attempt": job.attempt,
        "max_retries": job.max_retries,
        "node_losses": job.losses,
        "failure": job.failure.value if job.failure else None,
        "exit_code": job.exit_code,
        "cached": job.cached,
        "cancel_requested": job.cancel_requested,
        "deadline": iso(job.give_up_at),
        "waiting_for": told.waiting_for,
        "explanation": told.explanation,
        "queue": queue_json(told.waiting) if told.waiting else None,
        "verify": job.verify,
    }


def queue_json(waiting: Waiting) -> dict[str, Any]:
    """The numbers behind a pending job's explanation."""
    place = waiting.place
    return {
        "reason": waiting.reason.value,
        "position": place.position if place else None,
        "ahead": place.ahead if place else None,
        "more": place.more if place else False,
        "estimate_seconds": None if waiting.estimate is None else round(waiting.estimate, 3),
        "slots": waiting.slots,
        "slots_free": waiting.slots_free,
        "run_at": iso(waiting.run_at),
        "rejected_at": iso(waiting.rejected_at),
    }


def result_json(result: Result, artifacts: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """An ended job as /results shows it. `error` is what the program wrote there, or why it never could."""
    job = result.job
    why = why_failed(job, result.details)
    content = {
        "job_id": job.id,
        "status": job.status.value,
        "explanation": why,
        "output": result.output,
        "error": result.error or (why or "" if job.failure in _WITHOUT_OUTPUT else ""),
        "exit_code": job.exit_code,
        "failure": job.failure.value if job.failure else None,
        "node_id": job.node_id,
        "attempt": job.attempt,
        "completed_at": iso(job.completed_at),
        "cached": job.cached,
        "limit": None,
        "usage": None,
        "signal": None,
        "output_bytes": None,
        "error_bytes": None,
        "output_cut_at": None,
        "error_cut_at": None,
        "artifacts": artifacts,
        "artifacts_dropped": [],
        "message": None,
        "verify": job.verify,
        "verified": None,
    }
    if result.details:
        content.update(json.loads(result.details))
    for name, binary in (("output", result.output_binary), ("error", result.error_binary)):
        if binary is not None:
            content[f"{name}_base64"] = base64.b64encode(binary).decode()
    return content


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as /jobs/{id} shows it."""
    return {
        "attempt": attempt.number,
        "fence": attempt.fence,
        "node_id": attempt.node_id,
        "session_number": attempt.session_number,
        "claimed_at": iso(attempt.claimed_at),
        "started_at": iso(attempt.started_at),
        "ended_at": iso(attempt.ended_at),
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "failure": attempt.failure.value if attempt.failure else None,
        "exit_code": attempt.exit_code,
        "usage": {
            "wall_seconds": attempt.wall_seconds,
            "cpu_seconds": attempt.cpu_seconds,
            "memory_peak_bytes": attempt.memory_peak_bytes,
        },
        "output_sha256": attempt.output_digest,
        "result_sha256": attempt.result_digest,
        "message": attempt.message,
    }


def claimed_json(job: ClaimedJob) -> dict[str, Any]:
    """An attempt as a node gets it."""
    content: dict[str, Any] = {
        "id": job.id,
        "code": job.code,
        "interpreter": job.interpreter,
        "args": [],
        "stdin": None,
        "env": {},
        "files": {},
        "entrypoint": None,
        "outputs": None,
        "timeout": job.timeout,
        "memory_mb": None,
        "cpu_seconds": None,
        "environment": None,
        "uploads": [],
        "limits": {},
        "attempt": job.attempt,
        "fence": job.fence,
        "request_id": job.request_id,
    }
    if job.spec:
        content.update(json.loads(job.spec))
    return content


def ref_json(ref: Ref) -> dict[str, Any]:
    """An attempt's name."""
    return {"job_id": ref[0], "fence": ref[1]}


def lost_json(lost: Lost) -> dict[str, Any]:
    """An attempt that is no longer the node's."""
    return {"job_id": lost.job_id, "fence": lost.fence, "reason": lost.reason.value}
