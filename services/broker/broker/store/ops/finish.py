"""What a node says about its attempts, and what a client says about its job: start, complete, release, cancel."""

from collections.abc import Iterable

from broker.domain.barring import base_of
from broker.domain.verification import Word
from broker.domain.words import AttemptOutcome, Failure, JobStatus, LostReason
from broker.store.changes import Step
from broker.store.ops import files, verifying
from broker.store.ops.ending import Judged, Measured, Settled, end_pending, settle
from broker.store.records.attempt import CancelOutcome, Completion, CompletionOutcome, Lost, Ref
from broker.store.sql import life
from broker.store.transaction import Transaction

__all__ = ["cancel", "complete", "release", "start", "why_lost"]


def start(tx: Transaction, node_id: str, refs: Iterable[Ref], now: float, grace: float) -> list[Lost]:
    """Note that the programs run; the time limit counts from now. The answer lists what is no longer the node's."""
    lost = []
    for job_id, fence in refs:
        row = tx.row(life.START, {"job_id": job_id, "at_fence": fence, "node": node_id, "now": now, "grace": grace})
        if row is not None:
            tx.run(life.START_ATTEMPT, {"at_seq": row[0], "at_fence": fence, "started": now})
            _, class_key, priority, owner, whose, attempt = row
            base = base_of(class_key)
            of_job = (job_id, JobStatus.ASSIGNED, JobStatus.RUNNING, base, priority, None, None, owner, whose)
            tx.changes.stepped(Step(*of_job, node_id, fence, attempt))
        elif (reason := _why_not_started(tx, node_id, job_id, fence)) is not None:
            lost.append(Lost(job_id, fence, reason))
    return lost


def complete(
    tx: Transaction, node_id: str, completions: Iterable[Completion], now: float, result_ttl: float
) -> list[CompletionOutcome]:
    """Take a node's words on its attempts. Only the attempt that holds its job is heard; each is judged by itself."""
    outcomes = []
    completed = failed = 0
    for completion in completions:
        row = tx.row(life.JUDGE_ONE, {"job_id": completion.job_id})
        if row is None:
            outcomes.append(CompletionOutcome(completion.job_id, "unknown_job"))
            continue
        job = Judged.of(row)
        fence = job.fence if completion.fence is None else completion.fence
        if not job.held or job.node_id != node_id or job.fence != fence:
            outcomes.append(_not_held(tx, job, node_id, fence))
            continue
        status, standing = _take(tx, job, completion, now, result_ttl)
        if standing is None:
            completed += status is JobStatus.COMPLETED
            failed += status is JobStatus.FAILED
        else:  # each result of a verified job counts for its node, whatever the job comes to
            completed += completion.outcome is AttemptOutcome.COMPLETED
            failed += completion.outcome is AttemptOutcome.FAILED
        outcomes.append(CompletionOutcome(job.id, "ok", status))
    if completed or failed:
        tx.run(life.COUNT_FOR_NODE, {"node_id": node_id, "completed": completed, "failed": failed})
    return outcomes


def release(tx: Transaction, node_id: str, refs: Iterable[Ref], now: float, result_ttl: float) -> list[Ref]:
    """Put attempts back unrun; the answer lists those that were the node's to give."""
    released = []
    for job_id, fence in refs:
        row = tx.row(life.JUDGE_ONE, {"job_id": job_id})
        if row is None:
            continue
        job = Judged.of(row)
        if job.held and job.node_id == node_id and job.fence == fence:
            settle(tx, job, AttemptOutcome.RELEASED, now, result_ttl)
            released.append((job_id, fence))
    return released


def cancel(tx: Transaction, job_id: str, now: float, result_ttl: float, *, node_answers: bool) -> CancelOutcome | None:
    """End a pending job; ask for the end of a held one.

    `node_answers`: the node can be asked at once and has time to deliver what was printed; otherwise a held job ends
    here. None when the job is unknown. A job that has ended stays as it is.
    """
    row = tx.row(life.JUDGE_ONE, {"job_id": job_id})
    if row is None:
        return None
    job = Judged.of(row)
    if job.status is JobStatus.PENDING:
        end_pending(tx, job, Failure.CANCELLED, now, result_ttl)
        return CancelOutcome(JobStatus.FAILED, Failure.CANCELLED)
    if not job.held:
        return CancelOutcome(job.status, Failure(job.failure) if job.failure else None)
    if not node_answers:
        settle(tx, job, AttemptOutcome.CANCELLED, now, result_ttl)
        return CancelOutcome(JobStatus.FAILED, Failure.CANCELLED, node_id=job.node_id, fence=job.fence)
    tx.run(life.REQUEST_CANCEL, {"at_seq": job.seq, "at_fence": job.fence, "now": now})
    return CancelOutcome(job.status, None, requested=True, node_id=job.node_id, fence=job.fence)


def why_lost(status: JobStatus, failure: str | None) -> LostReason:
    """The reason to tell a node whose attempt is not (any more) the one that holds the job."""
    if failure == Failure.CANCELLED:
        return LostReason.CANCELLED
    if status in (JobStatus.COMPLETED, JobStatus.FAILED):
        return LostReason.FINISHED
    return LostReason.RESCUED


def _why_not_started(tx: Transaction, node_id: str, job_id: str, fence: int) -> LostReason | None:
    """None when the attempt is the node's and runs already: said twice."""
    row = tx.row(life.JUDGE_ONE, {"job_id": job_id})
    if row is None:
        return LostReason.UNKNOWN
    job = Judged.of(row)
    if job.held and job.node_id == node_id and job.fence == fence:
        return None
    return why_lost(job.status, job.failure)


def _not_held(tx: Transaction, job: Judged, node_id: str, fence: int) -> CompletionOutcome:
    """A word on an attempt that does not hold its job: said before by the same attempt (duplicate), or stale."""
    ended = tx.row(life.ATTEMPT_ENDED, {"seq": job.seq, "fence": fence, "node_id": node_id})
    said_before = ended is not None and ended[0] in (
        AttemptOutcome.COMPLETED,
        AttemptOutcome.FAILED,
        AttemptOutcome.PLATFORM,
    )
    return CompletionOutcome(job.id, "duplicate" if said_before else "stale_lease", job.status)


def _take(tx: Transaction, job: Judged, completion: Completion, now: float, result_ttl: float) -> Settled:
    wall, cpu, memory = completion.usage
    measured = Measured(
        exit_code=completion.exit_code,
        wall_seconds=wall,
        cpu_seconds=cpu,
        memory_peak_bytes=memory,
        digest=completion.digest,
        message=completion.message,
        printed_bytes=completion.printed_bytes,
        stored_bytes=completion.stored_bytes,
        file_count=completion.file_count,
        result_digest=verifying.digest_of(completion) if job.quorum is not None else None,
    )
    settled = settle(tx, job, completion.outcome, now, result_ttl, verdict=completion.failure, measured=measured)
    status, standing = settled
    if status is not JobStatus.PENDING and (standing is None or standing.word is not Word.DISAGREED):
        details = completion.details
        if standing is not None and standing.word is Word.AGREED:
            details = verifying.with_witnesses(tx, job.seq, measured.result_digest, details)
        tx.run(
            life.INSERT_RESULT,
            {
                "seq": job.seq,
                "output": completion.output,
                "error": completion.error,
                "details": details,
                "output_binary": completion.output_binary,
                "error_binary": completion.error_binary,
            },
        )
        if completion.artifacts:
            files.add_artifacts(tx, job.seq, completion.artifacts)
    return settled
