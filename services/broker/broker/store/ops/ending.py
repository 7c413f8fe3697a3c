"""The end of an attempt, whatever ended it: the job goes back to the queue, or is over for good.

Every path goes through `settle`, which asks the domain for the decision and carries it out with statements that act
only on the attempt that was judged.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from broker.domain.barring import barring, base_of
from broker.domain.fairshare import Flow
from broker.domain.retry import Again, Counters, Over, after_attempt
from broker.domain.verification import Standing, Word, after_result, weigh
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.store.changes import Ended, Owned, Step
from broker.store.ops.usage import CACHED, meter_attempt, meter_job
from broker.store.sql import life
from broker.store.tables import NEVER
from broker.store.transaction import Row, Transaction

__all__ = ["Judged", "Measured", "Settled", "end_pending", "settle"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a decision about a job looks at."""

    seq: int
    id: str
    status: JobStatus
    fence: int
    node_id: str | None
    class_key: str
    losses: int
    reruns: int
    max_retries: int
    retry_on: str
    cancel_requested_at: float | None
    dedupe_key: str | None
    failure: str | None
    deadline_at: float | None
    follows: int | None
    whose: str | None
    priority: int
    rank: float
    created_at: float
    owner: str | None
    attempt: int
    replicas: int | None
    quorum: int | None

    @staticmethod
    def of(row: Row) -> "Judged":
        """From a row of the JUDGE statements."""
        seq, job_id, status, *rest = row
        return Judged(seq, job_id, JobStatus(status), *rest)

    @property
    def flow(self) -> Flow:
        """Whose share it counts against while it is pending."""
        return (self.whose, self.priority)

    def step(
        self, new: JobStatus, now: float, failure: Failure | None = None, outcome: AttemptOutcome | None = None
    ) -> Step:
        """Its going to another status; its age is told at its end. `outcome`: of the attempt that ends with it."""
        age = None if new is JobStatus.PENDING else now - self.created_at
        base = base_of(self.class_key)
        of_job = (self.id, self.status, new, base, self.priority, age, failure, self.owner, self.whose)
        return Step(*of_job, self.node_id if self.held else None, self.fence, self.attempt, outcome)

    @property
    def held(self) -> bool:
        """Whether a node holds it."""
        return self.deadline_at is not None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a node measured of an attempt, kept with it."""

    exit_code: int | None = None
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    digest: str | None = None
    message: str | None = None
    printed_bytes: int = 0
    stored_bytes: int = 0
    file_count: int = 0
    result_digest: str | None = None
    """Of a result of a verified job."""


_NOTHING = Measured()


class Settled(NamedTuple):
    """What became of the job. `standing`: with a verified job's result, what its results amount to now."""

    status: JobStatus
    standing: Standing | None = None


def settle(
    tx: Transaction,
    job: Judged,
    outcome: AttemptOutcome,
    now: float,
    result_ttl: float,
    *,
    verdict: Failure | None = None,
    measured: Measured = _NOTHING,
) -> Settled:
    """End the attempt that holds the job."""
    assert job.node_id is not None
    tx.run(life.CLOSE_ATTEMPT, _closing(job, outcome, now, verdict, measured))
    tx.changes.holds(job.node_id, -1)
    tx.changes.ended.append(Ended(outcome, measured.wall_seconds, measured.cpu_seconds))
    if job.owner is not None:
        used = (measured.wall_seconds, measured.cpu_seconds, measured.memory_peak_bytes)
        meter_attempt(tx, job.owner, outcome, now, used, measured.printed_bytes)
    counters = Counters(job.losses, job.reruns, job.max_retries, job.cancel_requested_at is not None)
    decision: Again | Over | None = None  # a success
    if outcome is not AttemptOutcome.COMPLETED:
        decision = after_attempt(
            outcome, counters, tx.jitter.random(), verdict=verdict, retry_on=frozenset(job.retry_on.split(","))
        )
    standing = None
    if measured.result_digest is not None and not isinstance(decision, Again) and _is_result(decision):
        job, standing = _weigh(tx, job, measured.result_digest)
        decision = after_result(standing.word, counters, decision)
        if standing.word is Word.DISAGREED:
            measured = _NOTHING
    if isinstance(decision, Again):
        _again(tx, job, decision, now, outcome)
        return Settled(JobStatus.PENDING, standing)
    return Settled(_over(tx, job, decision, measured, now, result_ttl, outcome), standing)


def end_pending(tx: Transaction, job: Judged, failure: Failure, now: float, result_ttl: float) -> None:
    """End a job that no node holds."""
    tx.run(
        life.END_PENDING,
        {"at_seq": job.seq, "new_failure": failure.value, "now": now, "expires": now + result_ttl},
    )
    tx.changes.stepped(job.step(JobStatus.FAILED, now, failure))
    tx.changes.pending(job.flow, -1)
    tx.changes.finished.append(job.id)
    if job.owner is not None:
        tx.changes.owned.append(Owned(job.owner, -1))
    if job.dedupe_key is not None and job.follows is None:
        _next_leader(tx, job.seq)


def _is_result(end: Over | None) -> bool:
    """Whether the job would end by what its program did."""
    return end is None or end.failure is not Failure.CANCELLED


def _weigh(tx: Transaction, job: Judged, digest: str) -> tuple[Judged, Standing]:
    """Note the result of a verified job; while the matter is open, nodes that gave one are barred from the job."""
    assert job.replicas is not None
    assert job.quorum is not None
    tx.run(life.SET_DIGEST, {"at_seq": job.seq, "at_fence": job.fence, "digest": digest})
    given = tx.rows(life.DIGESTS, {"seq": job.seq})
    standing = weigh(job.replicas, job.quorum, [digest for _, digest in given])
    class_key = base_of(job.class_key)
    if standing.word is Word.OPEN:
        class_key = barring(class_key, [node_id for node_id, _ in given])
    new = {"new_results": standing.results, "new_equal": standing.equal, "new_class": class_key}
    tx.run(life.SET_STANDING, {"at_seq": job.seq, "at_fence": job.fence, **new})
    return replace(job, class_key=class_key), standing


def _closing(
    job: Judged, outcome: AttemptOutcome, now: float, verdict: Failure | None, measured: Measured
) -> dict[str, object]:
    return {
        "at_seq": job.seq,
        "at_fence": job.fence,
        "now": now,
        "new_outcome": outcome.value,
        "new_failure": verdict.value if verdict else None,
        "code": measured.exit_code,
        "wall": measured.wall_seconds,
        "cpu": measured.cpu_seconds,
        "memory": measured.memory_peak_bytes,
        "digest": measured.digest,
        "note": measured.message,
    }


def _again(tx: Transaction, job: Judged, decision: Again, now: float, outcome: AttemptOutcome) -> None:
    run_at = now + decision.delay if decision.delay > 0 else None
    tx.run(
        life.REQUEUE,
        {
            "at_seq": job.seq,
            "at_fence": job.fence,
            "new_run_at": run_at,
            "given_back": int(decision.give_back),
            "new_losses": decision.losses,
            "new_reruns": decision.reruns,
        },
    )
    tx.changes.stepped(job.step(JobStatus.PENDING, now, outcome=outcome))
    tx.changes.pending(job.flow, 1)
    if run_at is None:
        tx.changes.claimable(job.class_key, job.rank)
    else:
        tx.changes.waits_until(run_at)


def _over(
    tx: Transaction,
    job: Judged,
    end: Over | None,
    measured: Measured,
    now: float,
    result_ttl: float,
    outcome: AttemptOutcome,
) -> JobStatus:
    """`end`: how the job failed; None is a success. The job's status."""
    failure = end.failure if end else None
    status = JobStatus.FAILED if end else JobStatus.COMPLETED
    expires = now + result_ttl
    tx.run(
        life.END_HELD,
        {
            "at_seq": job.seq,
            "at_fence": job.fence,
            "new_status": status.value,
            "new_failure": failure.value if failure else None,
            "code": measured.exit_code,
            "result_bytes": 0 if job.owner is None else measured.stored_bytes,
            "files": measured.file_count,
            "given_back": int(end is not None and end.give_back),
            "new_losses": end.losses if end else job.losses,
            "new_reruns": end.reruns if end else job.reruns,
            "now": now,
            "expires": expires,
        },
    )
    tx.changes.stepped(job.step(status, now, failure, outcome))
    tx.changes.finished.append(job.id)
    if job.owner is not None:
        tx.changes.owned.append(Owned(job.owner, -1, measured.stored_bytes))
    if job.dedupe_key is not None and job.follows is None:
        if end is None:
            _end_followers(tx, job, measured, now, expires)
        else:
            _next_leader(tx, job.seq)
    return status


def _end_followers(tx: Transaction, leader: Judged, measured: Measured, now: float, expires: float) -> None:
    """Identical jobs that waited get the leader's success."""
    for _, job_id, whose, priority, created_at, owner in tx.rows(life.FOLLOWERS, {"leader": leader.seq}):
        age = now - created_at
        base = base_of(leader.class_key)
        of_job = (job_id, JobStatus.PENDING, JobStatus.COMPLETED, base, priority, age, None, owner, whose)
        tx.changes.stepped(Step(*of_job))
        tx.changes.pending((whose, priority), -1)
        tx.changes.finished.append(job_id)
        if owner is not None:
            tx.changes.owned.append(Owned(owner, -1))
            meter_job(tx, owner, CACHED, now)
    end = {"code": measured.exit_code, "files": measured.file_count, "now": now, "expires": expires}
    tx.run(life.COPY_SUCCESS, {"leader": leader.seq, **end})


def _next_leader(tx: Transaction, leader: int) -> None:
    """The oldest identical job that waited runs now, and the others wait for it."""
    followers = tx.rows(life.FOLLOWERS, {"leader": leader})
    if not followers:
        return
    heir = followers[0][0]
    for class_key, rank in tx.rows(life.PROMOTE_FOLLOWER, {"at_seq": heir}):
        tx.changes.claimable(class_key, rank)
    tx.run(life.FOLLOW_ANOTHER, {"leader": leader, "new_leader": heir, "run_at": NEVER})
