"""Short ways to say the common things to a store."""

import json
from itertools import count
from typing import Any

from broker.domain.placement import JobClass
from broker.domain.words import AttemptOutcome, Failure
from broker.store.base import Store
from broker.store.records.attempt import ClaimedJob, ClaimRequest, Completion, CompletionOutcome
from broker.store.records.node import Registration
from broker.store.records.submission import Idempotency, NewJob, Submission, SubmitOutcome
from broker.store.records.upkeep import SweepPolicy

PYTHON = JobClass("python3").key()
RUBY = JobClass("ruby").key()
TTL = 100.0
POLICY = SweepPolicy(
    result_ttl=TTL, tombstone_ttl=500.0, idempotency_ttl=500.0, node_retention=1000.0, cancel_grace=2.0
)
_serial = count(1)


def new_job(job_id: str | None = None, **given: Any) -> NewJob:
    """A job with everything by default; ids and ranks grow in order of making."""
    number = next(_serial)
    values: dict[str, Any] = {
        "id": job_id or f"job-{number}",
        "interpreter": "python3",
        "class_key": PYTHON,
        "priority": 5,
        "rank": float(number),
        "timeout": 60.0,
        "max_retries": 3,
        "created_at": 0.0,
        "code": "print(1)",
    }
    return NewJob(**values | given)


async def submit(store: Store, *jobs: NewJob, now: float = 0.0, key: tuple[str, str] | None = None) -> SubmitOutcome:
    """Store jobs."""
    return await store.submit(Submission(jobs, Idempotency(*key) if key else None), now)


async def register(
    store: Store, node_id: str = "node-1", now: float = 0.0, result_ttl: float = TTL, **given: Any
) -> int:
    """Begin a session; the answer is its number."""
    values: dict[str, Any] = {
        "node_id": node_id,
        "secret_hash": "s",
        "session_hash": "h",
        "endpoint": "http://localhost:8443",
        "capabilities": json.dumps({"interpreters": ["python3"]}),
        "slots": None,
        "name": None,
        "version": None,
        "lease_until": now + 60,
    }
    number, _ = await store.register(Registration(**values | given), now, result_ttl)
    return number


async def claim(
    store: Store, node_id: str = "node-1", now: float = 0.0, classes: tuple[str, ...] = (PYTHON,), **given: Any
) -> tuple[ClaimedJob, ...]:
    """Ask for jobs, one by default."""
    values: dict[str, Any] = {"max_jobs": 1} | given
    return (await store.claim(ClaimRequest(node_id, classes, **values), now)).jobs


def completion(
    job_id: str, fence: int | None, outcome: AttemptOutcome = AttemptOutcome.COMPLETED, **given: Any
) -> Completion:
    """A node's word on an attempt."""
    failed = outcome is AttemptOutcome.FAILED
    values: dict[str, Any] = {
        "output": "out",
        "error": "err",
        "exit_code": 1 if failed else 0 if outcome is AttemptOutcome.COMPLETED else None,
        "failure": Failure.EXIT if failed else None,
    }
    return Completion(job_id=job_id, fence=fence, outcome=outcome, **values | given)


async def complete(
    store: Store, job: ClaimedJob, node_id: str = "node-1", now: float = 0.0, **given: Any
) -> CompletionOutcome:
    """Deliver the end of an attempt."""
    (outcome,) = await store.complete(node_id, [completion(job.id, job.fence, **given)], now, TTL)
    return outcome
