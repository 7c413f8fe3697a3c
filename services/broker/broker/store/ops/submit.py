"""Storing new jobs, or finding that they are there already."""

import json
from typing import Any

from broker.domain.limits import JOB_BYTES
from broker.domain.words import JobStatus
from broker.store.changes import Step
from broker.store.ops import files
from broker.store.ops.usage import CACHED, SUBMITTED, meter_job
from broker.store.records.submission import NewJob, Submission, SubmitOutcome, SubmittedJob
from broker.store.sql import life, upkeep, webhooks
from broker.store.tables import NEVER
from broker.store.transaction import Transaction

__all__ = ["submit"]


def submit(tx: Transaction, submission: Submission, now: float) -> SubmitOutcome:
    """Store all jobs of a submission, or answer with what its idempotency key made before."""
    key = submission.idempotency
    if key is not None:
        known = tx.row(upkeep.FIND_KEY, {"key": key.key})
        if known is not None:
            body_hash, job_ids = known
            if body_hash != key.body_hash:
                return SubmitOutcome((), conflict=True)
            jobs = tuple(SubmittedJob(job_id, _status(tx, job_id)) for job_id in json.loads(job_ids))
            return SubmitOutcome(jobs, replayed=True)
    jobs = tuple(_store(tx, job, now) for job in submission.jobs)
    if key is not None:
        ids = json.dumps([job.id for job in jobs])
        tx.run(upkeep.SAVE_KEY, {"key": key.key, "body_hash": key.body_hash, "job_ids": ids, "now": now})
    return SubmitOutcome(jobs)


def _status(tx: Transaction, job_id: str) -> JobStatus:
    """The job's status now; a job that was deleted meanwhile had completed or failed, and its id still tells which
    answer the client gets for it (410)."""
    row = tx.row(life.JUDGE_ONE, {"job_id": job_id})
    return JobStatus(row[2]) if row else JobStatus.COMPLETED


def _row(job: NewJob) -> dict[str, Any]:
    """As a job begins that nobody has run yet."""
    return {
        "id": job.id,
        "status": "pending",
        "interpreter": job.interpreter,
        "class_key": job.class_key,
        "priority": job.priority,
        "rank": job.rank,
        "submitter": job.submitter,
        "owner": job.owner,
        "stored_bytes": job.stored_bytes,
        "labels": job.labels,
        "timeout": job.timeout,
        "max_retries": job.max_retries,
        "retry_on": job.retry_on,
        "created_at": job.created_at,
        "run_at": job.run_at,
        "give_up_at": job.give_up_at,
        "dedupe_key": job.dedupe_key,
        "follows": None,
        "result_of": None,
        "exit_code": None,
        "completed_at": None,
        "expires_at": None,
        "dialect": job.dialect,
        "file_count": 0,
        "replicas": job.replicas,
        "quorum": job.quorum,
        "results": None,
        "equal": None,
    }


def _store(tx: Transaction, job: NewJob, now: float) -> SubmittedJob:
    row = _row(job)
    cached = job.dedupe_key is not None and _join_identical(tx, job.dedupe_key, row, now)
    seq = tx.insert(life.INSERT_JOB, row)
    tx.run(life.INSERT_INPUT, {"seq": seq, "code": job.code, "spec": job.spec, "request_id": job.request_id})
    if job.webhook is not None:
        hook = {"id": job.webhook.id, "job_id": job.id, "url": job.webhook.url, "now": now}
        tx.run(webhooks.INSERT, hook)
    if job.inputs:
        files.add_inputs(tx, seq, job.inputs)
    status = JobStatus(row["status"])
    whose = job.owner or job.submitter
    tx.changes.stepped(Step(job.id, None, status, job.class_key, job.priority, owner=job.owner, whose=whose))
    if job.owner is not None:
        _charge(tx, job, job.owner, status, now)
    if status is JobStatus.PENDING:
        if row["run_at"] is None:
            tx.changes.claimable(job.class_key, job.rank)
        else:
            tx.changes.waits_until(row["run_at"])
    return SubmittedJob(job.id, status, cached)


def _charge(tx: Transaction, job: NewJob, owner: str, status: JobStatus, now: float) -> None:
    """Meter the job; what it adds to its owner's holdings was reserved before it came here."""
    meter_job(tx, owner, SUBMITTED, now, job.stored_bytes - JOB_BYTES)
    if status is not JobStatus.PENDING:
        meter_job(tx, owner, CACHED, now)


def _join_identical(tx: Transaction, dedupe_key: str, row: dict[str, Any], now: float) -> bool:
    """Make the row a copy of an earlier success (True), or let it wait for an identical job that is under way."""
    success = tx.row(life.CACHED_SUCCESS, {"dedupe_key": dedupe_key, "now": now})
    if success is not None:
        original, exit_code, expires_at, file_count, results, equal = success
        row |= {
            "status": "completed",
            "result_of": original,
            "exit_code": exit_code,
            "file_count": file_count,
            "results": results,
            "equal": equal,
            "run_at": None,
            "completed_at": now,
            # A copy never outlives the result that it points to.
            "expires_at": expires_at,
        }
        return True
    twin = tx.row(life.RUNNING_TWIN, {"dedupe_key": dedupe_key})
    if twin is not None:
        row |= {"follows": twin[0], "run_at": NEVER}
    return False
