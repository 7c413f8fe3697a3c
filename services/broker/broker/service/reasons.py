"""Why a pending job waits and why a failed one failed: facts from queue, nodes and store, made one sentence.

`waiting_for` is the short phrase that lists have shown from the beginning; `explanation` is the sentence, and `queue`
holds the numbers in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from broker.clock import Clock, iso
from broker.domain import sentences
from broker.domain.barring import base_of
from broker.domain.placement import JobClass, waiting_for
from broker.domain.words import Failure, JobStatus, WaitReason
from broker.service.forecast import Forecast, Place
from broker.service.sessions import SessionBook
from broker.service.waiting import SAY, Outlook, Waiting
from broker.store.base import Store
from broker.store.records.attempt import Attempt
from broker.store.records.job import Job
from broker.store.tables import NEVER

__all__ = ["NOTHING", "Reasons", "RejectsAt", "Told", "why_failed"]

RejectsAt = Callable[[str, float], float | None]
"""When a class's job, submitted at a time, is to be rejected, because no known node could run it; None: it is not."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is said about a job beside its row."""

    waiting_for: str | None = None
    explanation: str | None = None
    waiting: Waiting | None = None


NOTHING = Told()


class Reasons:
    """Explains jobs."""

    def __init__(
        self, store: Store, book: SessionBook, forecast: Forecast, clock: Clock, rejects_at: RejectsAt
    ) -> None:
        self._store = store
        self._book = book
        self._forecast = forecast
        self._clock = clock
        self._rejects_at = rejects_at

    def outlook(self) -> Outlook:
        """For a list of jobs."""
        return Outlook(self._book, self._forecast, self._clock.now())

    def brief(self, job: Job, outlook: Outlook) -> Told:
        """What can be said without asking the store: for lists."""
        if job.status is JobStatus.FAILED:
            return Told(explanation=why_failed(job))
        if job.status is not JobStatus.PENDING:
            return Told(explanation=_being_cancelled(job))
        waiting = self._reason(job, outlook)
        return Told(self._phrase(job, outlook), self._sentence(job, waiting, outlook), waiting)

    async def full(self, job: Job, most: int, attempts: Sequence[Attempt] | None = None) -> Told:
        """With its place in line, counted up to `most`, and what its attempts and its result tell."""
        if job.status is JobStatus.FAILED:
            return Told(explanation=why_failed(job, await self._store.details(job.id)))
        if job.status is not JobStatus.PENDING:
            return Told(explanation=_being_cancelled(job))
        outlook = self.outlook()
        waiting = self._reason(job, outlook)
        before = ""
        if waiting.reason is WaitReason.IDENTICAL:
            return Told(self._phrase(job, outlook), await self._twin(job), waiting)
        if waiting.reason is WaitReason.BACKOFF:
            known = await self._store.attempts(job.id) if attempts is None else attempts
            before = sentences.attempts_so_far([attempt.outcome for attempt in known])
        place = await self._forecast.place(job, outlook.loads, most) if waiting.slots else None
        waiting = _placed(waiting, place, outlook.now)
        return Told(self._phrase(job, outlook), self._sentence(job, waiting, outlook, before), waiting)

    def _reason(self, job: Job, outlook: Outlook) -> Waiting:
        slots, free = outlook.slots(job.class_key)
        if job.run_at is not None and (job.follows or job.run_at >= NEVER):
            return Waiting(WaitReason.IDENTICAL)
        if job.run_at is not None and job.run_at > outlook.now:
            reason = WaitReason.BACKOFF if job.losses or job.reruns else WaitReason.NOT_BEFORE
            return Waiting(reason, slots=slots, slots_free=free, run_at=job.run_at)
        if self._store.trouble() is not None:
            return Waiting(WaitReason.STORE, slots=slots, slots_free=free)
        if slots:
            return Waiting(WaitReason.NEXT if free else WaitReason.BUSY, slots=slots, slots_free=free)
        rejected_at = self._rejects_at(job.class_key, job.created_at)
        if any(node.alive(outlook.now) and node.may_have(job.class_key) for node in outlook.idle):
            return Waiting(WaitReason.DRAINING)
        if outlook.slots(base_of(job.class_key))[0]:
            return Waiting(WaitReason.ANOTHER_NODE, rejected_at=rejected_at)
        live = bool(outlook.loads) or any(node.alive(outlook.now) for node in outlook.idle)
        return Waiting(WaitReason.NO_MATCH if live else WaitReason.NO_NODES, rejected_at=rejected_at)

    def _phrase(self, job: Job, outlook: Outlook) -> str | None:
        """`waiting_for`."""
        what: str | None
        if job.run_at is not None and (job.follows or job.run_at >= NEVER):
            return "an identical job to end"
        if job.run_at is not None and job.run_at > outlook.now:  # a time that is past stays with the job
            what = "another try after a backoff" if job.attempt else "its start time"
            return f"{what}, at {iso(job.run_at)}"
        base = base_of(job.class_key)
        if outlook.slots(job.class_key)[0]:
            what = "a free slot" if base == job.class_key else "a free slot of a node that has not run it"
        elif outlook.slots(base)[0]:
            what = "a live node that has not run it"
        else:
            what = waiting_for(JobClass.from_key(base), (group.profile for group in outlook.groups))
        return f"{job.equal} of {job.quorum} equal results; {what}" if job.results else what

    def _sentence(self, job: Job, waiting: Waiting, outlook: Outlook, before: str = "") -> str:
        said = SAY[waiting.reason](job, waiting, outlook, before)
        if job.results:
            said += f"; {sentences.results_so_far(job.results, job.equal or 0, job.quorum or 0)}"
        if waiting.rejected_at is not None:
            said += (
                f"; it is {'given up' if job.results else 'rejected'} at {iso(waiting.rejected_at)} unless one comes"
            )
        if job.give_up_at is not None:
            said += f"; it is given up at {iso(job.give_up_at)}, its deadline"
        return said + "."

    async def _twin(self, job: Job) -> str:
        leader = await self._store.leader(job.id)
        if leader is None:
            return "An identical job has just ended."
        return f"An identical job, {leader[0]}, is {leader[1].value}: its success will be this one's too."


def why_failed(job: Job, details: str | None = None) -> str | None:
    """A failed job's sentence; with its result's details the numbers too. None for a job that did not fail."""
    if job.failure is None:
        return None
    if job.failure is Failure.VERIFICATION:
        return sentences.unverified(job.replicas or 0, job.quorum or 0, job.results or 0, job.equal or 0)
    known: dict[str, Any] = json.loads(details) if details else {}
    return sentences.why_failed(
        job.failure,
        exit_code=job.exit_code,
        timeout=job.timeout,
        losses=job.losses,
        reruns=job.reruns,
        max_retries=job.max_retries,
        details=known,
        message=_message(job, known),
        deadline=iso(job.give_up_at),
        ran=job.fence > 0,
    )


def _message(job: Job, known: dict[str, Any]) -> str | None:
    """What its last node said, or what it waited for in vain."""
    if job.failure not in (Failure.PLATFORM, Failure.REJECTED):
        return None
    if said := known.get("message"):
        return str(said)
    if job.failure is Failure.PLATFORM:
        return None
    return "none came with " + ", ".join([job.interpreter, *JobClass.from_key(job.class_key).wishes])


def _being_cancelled(job: Job) -> str | None:
    return "Its node has been asked to end it." if job.cancel_requested and job.completed_at is None else None


def _placed(waiting: Waiting, place: Place | None, now: float) -> Waiting:
    """With the place, if it is in line, and the estimate, which is no earlier than its start time."""
    estimate = place.estimate if place else None
    if waiting.run_at is not None:
        estimate = None if estimate is None else max(estimate, waiting.run_at - now)
        place = None
    elif waiting.reason is WaitReason.NEXT and place is not None and (place.more or place.ahead >= waiting.slots_free):
        waiting = Waiting(WaitReason.BUSY, slots=waiting.slots, slots_free=waiting.slots_free)
    elif waiting.reason is WaitReason.STORE:
        estimate = None
    return Waiting(
        waiting.reason, place, waiting.slots, waiting.slots_free, waiting.run_at, waiting.rejected_at, estimate
    )
