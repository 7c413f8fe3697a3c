"""Taking jobs in: checking what a type cannot say, giving them their class, rank and identity."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from broker.clock import Clock
from broker.context import REQUEST_ID
from broker.domain.fairshare import FairShare
from broker.domain.words import JobStatus
from broker.errors import IdempotencyConflictError, InvalidFieldError, LimitError, OverloadedError
from broker.service.callbacks import check_url
from broker.service.job_ids import new_job_id
from broker.service.job_input import (
    Uploads,
    body_hash,
    class_of,
    dedupe_key,
    environment_of,
    moment,
    owned,
    size_of,
    spec_of,
)
from broker.service.joblog import JobLog
from broker.service.matching import ClaimQueue
from broker.service.quotas import Quotas
from broker.service.sessions import SessionBook
from broker.service.tally import Tally
from broker.service.webhooks import Webhooks
from broker.settings import Settings
from broker.store.base import Store
from broker.store.records.job import StoredFile
from broker.store.records.submission import Idempotency, NewJob, Submission, SubmitOutcome, Webhook
from broker.wire.jobs import SubmitJob

__all__ = ["COMMON_INTERPRETERS", "Submits"]

COMMON_INTERPRETERS = frozenset({"python3", "node", "bash", "sh", "ruby", "perl"})
"""What the node image brings; others become known when a node offers them."""


_MOST_NAMED = 20  # environments in one error
SANDRUN = "sandrun"
"""The dialect of jobs that were submitted as a sandrun client does."""


class _Checked(NamedTuple):
    """A job that can be stored."""

    job: SubmitJob
    class_key: str
    run_at: float | None
    give_up_at: float | None
    spec: str | None
    size: int
    """What it will take, in bytes."""


class Submits:
    """Makes jobs of requests."""

    def __init__(
        self,
        store: Store,
        book: SessionBook,
        queue: ClaimQueue,
        fair: FairShare,
        clock: Clock,
        settings: Settings,
        quotas: Quotas,
        webhooks: Webhooks,
        tally: Tally,
        joblog: JobLog,
    ) -> None:
        self.on_stored: Callable[[SubmitOutcome, float], None] | None = None
        """Told what a call stored, and when it came."""
        self._tally = tally
        self._joblog = joblog
        self._webhooks = webhooks
        self._store = store
        self._book = book
        self._queue = queue
        self._fair = fair
        self._clock = clock
        self._settings = settings
        self._quotas = quotas
        self._classes_of: dict[str, set[str]] = {}

    async def submit(
        self,
        jobs: Sequence[SubmitJob],
        idempotency_key: str | None,
        owner: str | None = None,
        uploads: Uploads = (),
    ) -> SubmitOutcome:
        """Store the jobs of an owner, all or none; `uploads` are the files of a single one.

        InvalidFieldError, IdempotencyConflictError, OverloadedError, and LimitError when a quota is used up.
        """
        if len(jobs) > self._settings.max_batch:
            raise InvalidFieldError("jobs", f"{len(jobs)} jobs: a batch has at most {self._settings.max_batch}.")
        now = self._clock.now()
        single = len(jobs) == 1
        checked = [self._check(job, now, "" if single else f"jobs.{place}.", uploads) for place, job in enumerate(jobs)]
        idempotency = None
        if idempotency_key is not None:
            idempotency = Idempotency(owned(idempotency_key, owner), body_hash(jobs, uploads))
        if owner is not None:
            self._check_own_classes(owner, checked)
            self._quotas.check(owner, len(jobs), sum(job.size for job in checked))
        new = tuple(self._new_job(job, now, owner, uploads) for job in checked)
        if owner is not None:
            self._quotas.reserve(owner, new)
        outcome = await self._store_counted(Submission(new, idempotency), owner, now)
        if outcome.conflict:
            raise IdempotencyConflictError
        if self.on_stored is not None:
            self.on_stored(outcome, now)
        self._joblog.submitted(outcome.jobs, owner, now)
        return outcome

    async def _store_counted(self, submission: Submission, owner: str | None, now: float) -> SubmitOutcome:
        """Store it; what was counted and reserved for jobs that are not stored after all is given back."""
        new = submission.jobs
        stored: set[str] = set()
        kept: set[str] = set()
        self._fair.storing += len(new)
        try:
            outcome = await self._store.submit(submission, now)
            stored = {job.id for job in outcome.jobs if job.status is JobStatus.PENDING}
            kept = {job.id for job in outcome.jobs}
            self._owe(new, kept)
        finally:
            self._fair.storing -= len(new)
            for job in new:
                if job.id not in stored:  # its rank counted it as pending
                    self._fair.count((owner or job.submitter, job.priority), -1)
            if owner is not None:
                unused = sum(job.stored_bytes for job in new if job.id not in kept)
                self._quotas.give_back(owner, sum(job.id not in stored for job in new), unused)
        return outcome

    def _owe(self, jobs: Sequence[NewJob], kept: Collection[str]) -> None:
        """What is owed to callback URLs, now that it is stored. A job that has ended already is told at once."""
        for job in jobs:
            if job.webhook is not None and job.id in kept:
                self._webhooks.owe(job.id)
                self._webhooks.finished([job.id])

    def _check(self, job: SubmitJob, now: float, where: str, uploads: Uploads) -> _Checked:
        limit = self._settings.job_timeout
        if job.timeout is not None and job.timeout > limit:
            raise InvalidFieldError(f"{where}timeout", f"timeout is at most {limit:g} seconds (JOB_TIMEOUT).")
        if job.interpreter not in COMMON_INTERPRETERS:
            self._check_interpreter(job.interpreter, where)
        if (environment := environment_of(job)) is not None:
            self._check_environment(environment, where)
        job_class = class_of(job)
        class_key = job_class.key()
        if not job_class.is_plain or job.verify is not None:
            self._check_classes(class_key, more=job.verify is not None)
        if job.callback_url is not None:
            check_url(job.callback_url)
        run_at = moment(job.not_before, now, f"{where}not_before")
        spec = spec_of(job, uploads)
        return _Checked(
            job,
            class_key,
            run_at if run_at is not None and run_at > now else None,
            moment(job.deadline, now, f"{where}deadline"),
            spec,
            size_of(job, spec, uploads),
        )

    def _new_job(self, checked: _Checked, now: float, owner: str | None, uploads: Uploads) -> NewJob:
        job, class_key, run_at, give_up_at, spec, size = checked
        timeout = self._settings.job_timeout if job.timeout is None else job.timeout
        replicas, quorum = (job.verify.replicas, job.verify.needed) if job.verify else (None, None)
        return NewJob(
            id=new_job_id(),
            interpreter=job.interpreter,
            class_key=class_key,
            priority=job.priority,
            rank=self._fair.stamp(class_key, (owner or job.submitter, job.priority), quorum or 1),
            timeout=timeout,
            max_retries=self._settings.max_retries if job.max_retries is None else job.max_retries,
            created_at=now,
            code=job.code or "",
            spec=spec,
            submitter=job.submitter,
            owner=owner,
            stored_bytes=0 if owner is None else size,
            labels=json.dumps(job.labels) if job.labels else None,
            retry_on=",".join(sorted(set(job.retry_on))),
            run_at=run_at,
            give_up_at=give_up_at,
            dialect=SANDRUN if uploads else None,
            request_id=REQUEST_ID.get() or None,
            webhook=None if job.callback_url is None else Webhook(f"wh_{new_job_id()}", "", job.callback_url),
            inputs=tuple(StoredFile(f"{n:05d}", file.sha256, file.size) for n, file in enumerate(uploads)),
            dedupe_key=owned(dedupe_key(job, timeout, spec), owner) if job.cache else None,
            replicas=replicas,
            quorum=quorum,
        )

    def _check_interpreter(self, interpreter: str, where: str) -> None:
        known = COMMON_INTERPRETERS | self._book.interpreters()
        if interpreter not in known:
            raise InvalidFieldError(
                f"{where}interpreter", f"unknown interpreter {interpreter}: known are {', '.join(sorted(known))}."
            )

    def _check_environment(self, environment: str, where: str) -> None:
        known = self._book.environments()
        if environment not in known:
            there = ", ".join(sorted(known)[:_MOST_NAMED]) or "none"
            said = f"unknown environment {environment}: the nodes have {there} (GET /environments)."
            raise InvalidFieldError(f"{where}environment", said)

    def _check_own_classes(self, owner: str, jobs: Sequence[_Checked]) -> None:
        """That an owner leaves half of the classes to others. Counted are those that it asked for and that are pending,
        for whomever."""
        most = max(1, self._settings.max_classes // 2)
        own = self._classes_of.get(owner, set()) | {job.class_key for job in jobs}
        if len(own) > most:
            own = {job.class_key for job in jobs} | {key for key in own if self._tally.waits(key)}
        if len(own) > most:
            message = f"At most {most} of a key's different sets of requirements may be pending: try again in 5 s."
            raise LimitError("classes", message, 5)
        self._classes_of[owner] = own

    def _check_classes(self, class_key: str, *, more: bool) -> None:
        """`more`: a verified job makes further classes on its way from node to node."""
        pending, most = self._queue.pending_classes, self._settings.max_classes
        if (more or class_key not in pending) and len(pending) >= most:
            # Jobs that were cancelled leave their class behind until a node looks for it, and there may be none.
            self._queue.drained([key for key in pending if not self._tally.waits(key)])
        if (more or class_key not in pending) and len(pending) >= most:
            raise OverloadedError("Jobs with too many different requirements are pending: try again later.")
