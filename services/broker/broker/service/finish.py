"""What nodes say about their attempts: started, completed, released. What clients want ended: cancel."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from broker.clock import Clock
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.errors import NotFoundError
from broker.service.files import Files
from broker.service.links import Links
from broker.service.sessions import SessionBook
from broker.settings import Settings
from broker.store.base import Store
from broker.store.records.attempt import CancelOutcome, Completion, CompletionOutcome, Lost, Ref
from broker.store.records.job import JobFilter, StoredFile
from broker.wire.nodes import Artifact, Completed, DroppedArtifact, NodeCall, Release, Start

__all__ = ["Finishing", "judge"]


_DETAILS = {
    "limit", "usage", "signal", "output_bytes", "error_bytes", "output_cut_at", "error_cut_at", "message",
    "artifacts_dropped", "execution",
}  # fmt: skip


CANCEL_AT_A_TIME = 100


class CancelledMany(NamedTuple):
    """What a cancel of many did; `more`: the limit was reached."""

    cancelled: int
    requested: int
    more: bool


class Finishing:
    """The ends of attempts and jobs."""

    def __init__(
        self, store: Store, book: SessionBook, links: Links, files: Files, clock: Clock, settings: Settings
    ) -> None:
        self._store = store
        self._files = files
        self._book = book
        self._links = links
        self._clock = clock
        self._settings = settings

    async def start(self, body: Start) -> list[Lost]:
        """The programs run; what is no longer the node's is listed."""
        session = self._book.check(body.node_id, body.session)
        refs = [(ref.job_id, ref.fence) for ref in body.jobs]
        return await self._store.start(session.node_id, refs, self._clock.now(), self._settings.timeout_grace)

    async def complete(self, caller: NodeCall, completions: Sequence[Completed]) -> list[CompletionOutcome]:
        """Take the ends of attempts, each judged by itself. UnknownNodeError, SessionEndedError."""
        session = self._book.check(caller.node_id, caller.session)
        judged = [judge(completion) for completion in completions]
        if not any(completion.artifacts for completion in judged):
            return await self._store.complete(session.node_id, judged, self._clock.now(), self._settings.result_ttl)
        return await self._complete_with_files(session.node_id, judged)

    async def _complete_with_files(self, node_id: str, judged: Sequence[Completion]) -> list[CompletionOutcome]:
        """As long as a file's content is missing its completion is put off; the others are taken."""
        settled = [await self._files.settle(node_id, completion) for completion in judged]
        ready = [completion for completion, missing in settled if not missing]
        taken = iter(await self._store.complete(node_id, ready, self._clock.now(), self._settings.result_ttl))
        return [
            CompletionOutcome(completion.job_id, "missing_artifacts", missing=missing) if missing else next(taken)
            for completion, missing in settled
        ]

    async def release(self, body: Release) -> list[Ref]:
        """Put attempts back unrun; those that were the node's to give are listed."""
        session = self._book.check(body.node_id, body.session)
        refs = [(ref.job_id, ref.fence) for ref in body.jobs]
        return await self._store.release(session.node_id, refs, self._clock.now(), self._settings.result_ttl)

    async def cancel(self, job_id: str) -> CancelOutcome:
        """End a job. A linked node is asked, and may deliver what was printed; another hears of it at its next beat."""
        node_id = await self._holder(job_id)
        node_answers = node_id is not None and self._links.connected(node_id)
        outcome = await self._store.cancel(
            job_id, self._clock.now(), self._settings.result_ttl, node_answers=node_answers
        )
        if outcome is None:
            raise NotFoundError
        if outcome.node_id is not None:
            kind = "cancel" if outcome.requested else "lost"
            self._links.tell(outcome.node_id, {"type": kind, "job_id": job_id, "fence": outcome.fence})
        return outcome

    async def cancel_many(self, wanted: JobFilter, limit: int) -> CancelledMany:
        """End up to `limit` of the jobs that match and have not ended, some at a time."""
        done = CancelledMany(0, 0, False)
        for status in (JobStatus.PENDING, JobStatus.ASSIGNED, JobStatus.RUNNING):
            if wanted.status not in (None, status):
                continue
            following: int | None = None
            while True:
                page = replace(wanted, status=status, before=following, limit=CANCEL_AT_A_TIME)
                jobs, following = await self._store.list_jobs(page)
                room = limit - done.cancelled - done.requested
                outcomes = await asyncio.gather(*(self._cancel_if_there(job.id) for job in jobs[:room]))
                requested = sum(outcome is not None and outcome.requested for outcome in outcomes)
                ended = sum(outcome is not None for outcome in outcomes) - requested
                done = CancelledMany(done.cancelled + ended, done.requested + requested, len(jobs) > room)
                if following is None or done.more:
                    break
            if done.more:
                break
        return done

    async def _cancel_if_there(self, job_id: str) -> CancelOutcome | None:
        try:
            return await self.cancel(job_id)
        except NotFoundError:
            return None

    async def _holder(self, job_id: str) -> str | None:
        job = await self._store.job(job_id)
        return job.node_id if job else None


def _artifacts(said: Sequence[Artifact]) -> tuple[tuple[StoredFile, ...], list[DroppedArtifact]]:
    """The files that can be kept under their names, and the others with the reason."""
    kept: dict[str, StoredFile] = {}
    dropped = []
    for file in said:
        if file.path in kept:
            dropped.append(DroppedArtifact(path=file.path, size=file.size, reason="same_name"))
        elif file.path.startswith("/") or ".." in file.path.split("/") or "\x00" in file.path:
            dropped.append(DroppedArtifact(path=file.path, size=file.size, reason="unsafe_name"))
        else:
            kept[file.path] = StoredFile(file.path, file.sha256, file.size, file.mime)
    return tuple(kept.values()), dropped


def _verdict(said: Completed) -> tuple[AttemptOutcome, Failure | None]:
    if said.failure == "platform":
        return AttemptOutcome.PLATFORM, None
    if said.failure is not None:
        return AttemptOutcome.FAILED, Failure(said.failure)
    if said.exit_code == 0:
        return AttemptOutcome.COMPLETED, None
    return AttemptOutcome.FAILED, Failure.EXIT


def judge(said: Completed) -> Completion:
    """What a node's words mean: the outcome of the attempt and the verdict on the program."""
    outcome, failure = _verdict(said)
    artifacts, unkept = _artifacts(said.artifacts) if said.artifacts else ((), [])
    said.artifacts_dropped += unkept
    details = said.model_dump(include=_DETAILS & said.model_fields_set, exclude_none=True)
    if unkept:
        details["artifacts_dropped"] = [dropped.model_dump(exclude_none=True) for dropped in said.artifacts_dropped]
    usage = said.usage
    # SHA-256 of what was printed, so that attempts can be compared when the output is gone.
    output, error = said.output.encode(), said.error.encode()
    whole = hashlib.sha256(output)
    whole.update(b"\x00")
    whole.update(error)
    size = len(output) + len(error)
    return Completion(
        job_id=said.job_id,
        fence=said.fence,
        output=said.output,
        error=said.error,
        exit_code=said.exit_code,
        outcome=outcome,
        failure=failure,
        details=json.dumps(details) if details else None,
        usage=(usage.wall_seconds, usage.cpu_seconds, usage.memory_peak_bytes) if usage else (None, None, None),
        digest=whole.hexdigest(),
        message=said.message,
        output_binary=None if said.output_base64 is None else base64.b64decode(said.output_base64),
        error_binary=None if said.error_base64 is None else base64.b64decode(said.error_base64),
        artifacts=artifacts,
        file_count=len(artifacts) + len(said.artifacts_dropped),
        printed_bytes=(said.output_bytes or 0) + (said.error_bytes or 0) or size,
        stored_bytes=size + sum(file.size for file in artifacts),
    )
