"""The queue as a dictionary: the specification that every store is held against, one sentence per rule.

Nothing here is clever: no index, no SQL, no concurrency. `test_model.py` applies the same calls to a store and to this,
in any order that Hypothesis thinks of, and compares everything that can be seen.
"""

from dataclasses import dataclass, field

from broker.domain.barring import barring
from broker.store.records.submission import NewJob

TTL = 1000.0
SLACK = 10.0
"""Beyond a job's timeout, before the broker takes it back."""
GRACE = 5.0
CANCEL_GRACE = 2.0

Ref = tuple[str, int]


@dataclass
class ModelJob:
    """A job, and everything that ever happened to it."""

    new: NewJob
    status: str = "pending"
    failure: str | None = None
    fence: int = 0
    attempt: int = 0
    losses: int = 0
    reruns: int = 0
    holder: str | None = None
    deadline: float = 0.0
    run_at: float | None = None
    cancel_requested_at: float | None = None
    completed_at: float | None = None
    output: str | None = None
    granted: dict[int, str] = field(default_factory=dict)
    """Fence -> the node that got it: for ever, each fence once."""
    results: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a verified job: node -> what it came to."""
    said: set[int] = field(default_factory=set)
    """Fences whose completion was accepted."""
    endings: int = 0
    """How often it ended: at most once."""

    @property
    def class_key(self) -> str:
        """Nodes that gave a result are barred from the class of a job that waits for another's."""
        return barring(self.new.class_key, self.results) if self.results else self.new.class_key

    @property
    def equal(self) -> int:
        """The most results that are the same."""
        came = list(self.results.values())
        return max((came.count(result) for result in came), default=0)

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "failed")

    @property
    def held(self) -> bool:
        return self.status in ("assigned", "running")


class Model:
    """What a store must do."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.deleted: set[str] = set()
        self.counters: dict[str, list[int]] = {}
        """Node -> [jobs that it completed, jobs that it failed]."""
        self.sessions: dict[str, int] = {}
        self.fence_floor = 0

    def restart(self, now: float) -> None:
        """A restarted broker grants time, here none beyond the present; its file may be an older copy (adr/0018)."""
        for job in self.jobs.values():
            if job.held:
                job.deadline = max(job.deadline, now)
        unfinished = any(not job.ended for job in self.jobs.values())
        self.fence_floor = int(now * 1_000_000) if unfinished else 0

    # ---- nodes

    def register(self, node: str, now: float) -> int:
        """A registration begins a session and takes back what the one before held."""
        self.rescue(node, now)
        self.counters.setdefault(node, [0, 0])
        self.sessions[node] = self.sessions.get(node, 0) + 1
        return self.sessions[node]

    def rescue(self, node: str, now: float) -> list[Ref]:
        """A lost node's attempts end as losses."""
        taken = []
        for job in self.jobs.values():
            if job.held and job.holder == node:
                taken.append((job.new.id, job.fence))
                self._lose(job, "node_lost", now)
        return taken

    # ---- jobs

    def submit(self, new: NewJob) -> None:
        """A new job is pending, at once or from its start time."""
        self.jobs[new.id] = ModelJob(new, run_at=new.run_at)

    def claimable(self, node: str, classes: tuple[str, ...], now: float) -> list[ModelJob]:
        """Pending jobs of these classes whose time has come: lowest rank, then class named first, then the older.
        Nobody gets a job to which he has given a result."""
        jobs = [
            (job.new.rank, classes.index(job.class_key), place, job)
            for place, job in enumerate(self.jobs.values())
            if job.status == "pending"
            and job.class_key in classes
            and node not in job.results
            and (job.run_at or 0.0) <= now
        ]
        return [job for *_, job in sorted(jobs, key=lambda item: item[:3])]

    def claim(self, node: str, classes: tuple[str, ...], wanted: int, now: float) -> list[tuple[str, int, int]]:
        """The first `wanted` claimable jobs are the node's; each grant has a fence that was never used before."""
        got = []
        for job in self.claimable(node, classes, now)[:wanted]:
            job.status, job.holder, job.run_at = "assigned", node, None
            job.fence = max(job.fence + 1, self.fence_floor)
            job.attempt += 1
            job.deadline = now + job.new.timeout + SLACK
            assert job.fence not in job.granted
            job.granted[job.fence] = node
            got.append((job.new.id, job.attempt, job.fence))
        return got

    def start(self, node: str, ref: Ref, now: float) -> bool:
        """assigned → running, and the time limit counts from now; False when the attempt is not the node's."""
        job = self._held_by(node, ref)
        if job is not None and job.status == "assigned":
            job.status, job.deadline = "running", now + job.new.timeout + GRACE
        return job is not None

    def complete(self, node: str, ref: Ref, outcome: str, verdict: str | None, now: float, output: str) -> str:
        """Only the attempt that holds its job is heard; said again it is a duplicate; anything else is stale."""
        job = self.jobs.get(ref[0])
        if job is None:
            return "unknown_job"
        if self._held_by(node, ref) is None:
            return "duplicate" if ref[1] in job.said and job.granted.get(ref[1]) == node else "stale_lease"
        job.said.add(job.fence)
        if outcome == "platform":
            self._lose(job, "platform", now)
        elif outcome == "failed" and self._runs_again(job, verdict or "exit", now):
            return "ok"
        elif job.new.quorum and not job.ended:
            self.counters[node][outcome == "failed"] += 1
            self._verify(job, node, (outcome, verdict or "", output), now)
            return "ok"
        elif outcome == "completed":
            self._end(job, "completed", None, now)
        elif not job.ended:
            self._end(job, "failed", verdict or "exit", now)
        if job.ended:
            job.output = output
            self.counters[node][job.status == "failed"] += 1
        return "ok"

    def release(self, node: str, ref: Ref, now: float) -> bool:
        """An attempt that was handed back is not counted; its fence is used up all the same."""
        job = self._held_by(node, ref)
        if job is None:
            return False
        job.attempt -= 1
        if job.cancel_requested_at is not None:
            self._end(job, "failed", "cancelled", now)
        else:
            self._requeue(job, None)
        return True

    def cancel(self, job_id: str, now: float, node_answers: bool) -> str | None:
        """A pending job ends; a held one ends or is asked for; an ended one stays."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        if job.held and node_answers:
            job.cancel_requested_at = now if job.cancel_requested_at is None else job.cancel_requested_at
        elif not job.ended:
            self._end(job, "failed", "cancelled", now)
        return job.status

    # ---- time

    def sweep(self, now: float) -> None:
        """Overdue attempts are losses, unanswered cancels end, deadlines of pending jobs end them, results expire."""
        for job in self.jobs.values():
            if job.held and job.deadline <= now:
                self._lose(job, "overdue", now)
        for job in self.jobs.values():
            asked = job.cancel_requested_at
            if job.held and asked is not None and asked <= now - CANCEL_GRACE:
                self._end(job, "failed", "cancelled", now)
        for job in self.jobs.values():
            if job.status == "pending" and job.new.give_up_at is not None and job.new.give_up_at <= now:
                self._end(job, "failed", "expired", now)
        expired = [
            job_id
            for job_id, job in self.jobs.items()
            if job.completed_at is not None and job.completed_at + TTL <= now
        ]
        for job_id in expired:
            del self.jobs[job_id]
            self.deleted.add(job_id)

    # ---- the rules in common

    def _held_by(self, node: str, ref: Ref) -> ModelJob | None:
        job = self.jobs.get(ref[0])
        return job if job is not None and job.held and job.holder == node and job.fence == ref[1] else None

    def _lose(self, job: ModelJob, cause: str, now: float) -> None:
        """Infrastructure failed: again while the retries last, with a backoff unless it is the first lost node."""
        job.losses += 1
        if job.cancel_requested_at is not None:
            self._end(job, "failed", "cancelled", now)
        elif job.losses > job.new.max_retries:
            self._end(job, "failed", "timeout" if cause == "overdue" else cause, now)
        elif cause == "node_lost" and job.losses == 1:
            self._requeue(job, None)
        else:
            self._requeue(job, now + half_backoff(job.losses))

    def _runs_again(self, job: ModelJob, verdict: str, now: float) -> bool:
        """The program failed: a result, unless the job was to be cancelled, or asks to be run again for it and has
        not been too often."""
        if job.cancel_requested_at is not None:
            self._end(job, "failed", "cancelled", now)
        elif verdict in job.new.retry_on.split(",") and job.reruns < job.new.max_retries:
            job.reruns += 1
            self._requeue(job, now + half_backoff(job.reruns))
            return True
        return False

    def _verify(self, job: ModelJob, node: str, result: tuple[str, str, str], now: float) -> None:
        """One more node gave a result: it is the job's when so many are the same; too many different ones are its
        end; else another node has to run it, unless it was to be cancelled."""
        new = job.new
        assert new.quorum and new.replicas  # noqa: PT018  # for the types
        assert node not in job.results, "a node gives one result"
        job.results[node] = result
        outcome, verdict, output = result
        if list(job.results.values()).count(result) >= new.quorum:
            self._end(job, outcome, verdict or None, now)
            job.output = output
        elif job.equal + new.replicas - len(job.results) < new.quorum:
            self._end(job, "failed", "verification", now)
        elif job.cancel_requested_at is not None:
            self._end(job, "failed", "cancelled", now)
            job.output = output
        else:
            self._requeue(job, None)

    @staticmethod
    def _requeue(job: ModelJob, run_at: float | None) -> None:
        job.status, job.holder, job.run_at = "pending", None, run_at

    @staticmethod
    def _end(job: ModelJob, status: str, failure: str | None, now: float) -> None:
        assert not job.ended, "a job ends once"
        job.status, job.failure, job.completed_at = status, failure, now
        job.run_at = None
        job.endings += 1


def half_backoff(failures: int) -> float:
    """Full jitter with the dice always at one half."""
    return 0.5 * min(60.0, 2.0 ** (failures - 1))
