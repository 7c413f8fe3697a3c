"""What the service needs of a store. SqliteStore is one; every implementation passes tests/store.

Writing methods return after the change is durable. Every method that changes a job acts on one attempt, named by its
fence, or does nothing. Errors: OverloadedError when too much waits, StoreBrokenError when the database refused (then
nothing of the call was kept).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from broker.domain.words import JobStatus, NodeEventKind
from broker.store.access import AccessStore
from broker.store.changes import Changes
from broker.store.load import StoreLoad
from broker.store.node_log import NodeLog
from broker.store.records.attempt import (
    Attempt,
    CancelOutcome,
    ClaimGrant,
    ClaimRequest,
    Completion,
    CompletionOutcome,
    HeldAttempt,
    Lost,
    Ref,
)
from broker.store.records.history import History
from broker.store.records.job import Job, JobFilter, JobInput, Result, StoredFile
from broker.store.records.node import Node, NodeLease, Registration
from broker.store.records.submission import Submission, SubmitOutcome
from broker.store.records.upkeep import Backlog, SweepPolicy, Swept
from broker.store.webhooks import WebhookStore

__all__ = ["Store", "Subscriber"]

Subscriber = Callable[[list[Changes]], None]


class Store(Protocol):
    """The queue's memory. `now` is always the caller's: the store has no clock."""

    @property
    def access(self) -> AccessStore:
        """Keys, owners and usage; once it is open."""
        ...

    # ---- life

    async def open(self, subscriber: Subscriber) -> None:
        """Make ready. The subscriber hears of every committed operation, in commit order, before its caller."""
        ...

    async def close(self) -> None:
        """Finish what waits and let go of the database."""
        ...

    async def last_clock(self) -> float:
        """The latest time that was saved; 0 for a new store."""
        ...

    async def resume(self, now: float, stopped_at: float, lease_seconds: float) -> Backlog:
        """Grant fresh leases to whoever had one when the broker stopped; report what is left to do."""
        ...

    # ---- jobs

    async def submit(self, submission: Submission, now: float) -> SubmitOutcome:
        """Store all jobs or none."""
        ...

    async def claim(self, request: ClaimRequest, now: float) -> ClaimGrant:
        """Hand out pending jobs, best rank first."""
        ...

    async def start(self, node_id: str, refs: Sequence[Ref], now: float, grace: float) -> list[Lost]:
        """assigned → running."""
        ...

    async def complete(
        self, node_id: str, completions: Sequence[Completion], now: float, result_ttl: float
    ) -> list[CompletionOutcome]:
        """Take the ends of attempts."""
        ...

    async def release(self, node_id: str, refs: Sequence[Ref], now: float, result_ttl: float) -> list[Ref]:
        """Take attempts back unrun."""
        ...

    async def cancel(self, job_id: str, now: float, result_ttl: float, *, node_answers: bool) -> CancelOutcome | None:
        """Cancel; None when unknown."""
        ...

    # ---- nodes and time

    async def register(self, registration: Registration, now: float, result_ttl: float) -> tuple[int, list[Ref]]:
        """Begin a session; the answer is its number and what the earlier one held."""
        ...

    async def save_leases(self, leases: Sequence[NodeLease], now: float) -> None:
        """Write down leases and the clock."""
        ...

    @property
    def node_log(self) -> NodeLog:
        """What happened to nodes, and which attempts they had."""
        ...

    async def set_draining(self, node_id: str, draining: bool, now: float, by: str | None = None) -> None:
        """Remember whether a node may claim, and by which key that was said."""
        ...

    async def rescue(
        self, node_ids: Sequence[str], now: float, result_ttl: float, why: NodeEventKind = NodeEventKind.SILENT
    ) -> list[Ref]:
        """Take everything away from lost nodes."""
        ...

    async def sweep(self, now: float, policy: SweepPolicy, hopeless: frozenset[str]) -> Swept:
        """Do what the time asks for."""
        ...

    async def reject_class(self, class_key: str, before: float, now: float, policy: SweepPolicy) -> int:
        """End pending jobs of a class that nobody could run."""
        ...

    # ---- files and webhooks

    @property
    def webhooks(self) -> WebhookStore:
        """What is owed to callback URLs."""
        ...

    async def artifacts(self, job_id: str) -> list[StoredFile]:
        """What the job left, by path; a copy of an identical job has that one's."""
        ...

    async def artifact(self, job_id: str, path: str) -> StoredFile | None:
        """One of these."""
        ...

    async def input_size(self, job_id: str, sha256: str) -> int | None:
        """The size of a content that the job was submitted with; None when it was not."""
        ...

    async def referenced(self, names: list[str]) -> set[str]:
        """Which of these contents some row refers to."""
        ...

    async def drop_spent_inputs(self) -> int:
        """Drop uploads of ended jobs, some at a time; how many files."""
        ...

    async def drop_artifacts(self, wanted_bytes: int) -> int:
        """Drop artifacts of the jobs that ended first, some at a time; how many bytes they have."""
        ...

    # ---- reading

    async def job(self, job_id: str) -> Job | None:
        """A job without input and output."""
        ...

    async def result(self, job_id: str) -> Result | None:
        """A job with its output."""
        ...

    async def job_input(self, job_id: str) -> JobInput | None:
        """A job with what was submitted."""
        ...

    async def was_deleted(self, job_id: str) -> bool:
        """Whether the job ended and was deleted after RESULT_TTL."""
        ...

    async def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""
        ...

    async def histories(self, job_ids: Sequence[str]) -> list[History]:
        """The lives of some jobs that have ended; those that are deleted already are left out."""
        ...

    async def list_jobs(self, wanted: JobFilter) -> tuple[list[Job], int | None]:
        """A page of jobs, newest first, and the cursor of the next page."""
        ...

    async def ahead(self, class_key: str, rank: float, seq: int, most: int) -> int:
        """How many claimable jobs of a class come before a place in it, counted up to `most`."""
        ...

    async def whose_ahead(self, class_key: str, rank: float, seq: int, most: int) -> dict[str | None, int]:
        """Whose the first `most` of these are."""
        ...

    async def leader(self, job_id: str) -> tuple[str, JobStatus] | None:
        """The identical job whose end this one waits for."""
        ...

    async def request_of(self, job_id: str) -> str | None:
        """The id of the call that submitted a job."""
        ...

    async def details(self, job_id: str) -> str | None:
        """What a result says beside the output, as in Completion."""
        ...

    async def held_by(self, node_id: str) -> list[HeldAttempt]:
        """The attempts that a node holds."""
        ...

    async def why_lost(self, job_id: str) -> Lost:
        """Why an attempt that a node lists is not its own."""
        ...

    async def nodes(self) -> list[Node]:
        """All nodes, the longest known first."""
        ...

    async def node_counters(self) -> dict[str, tuple[int, int]]:
        """Node id -> jobs that it completed, and failed."""
        ...

    def load(self) -> StoreLoad:
        """What there is to do, and how long that takes."""
        ...

    def trouble(self) -> str | None:
        """What the database said when it last refused a change; None when it takes them."""
        ...

    def alive(self) -> bool:
        """Whether changes can be taken, now or later; once False, the process has to be started again."""
        ...

    def totals(self) -> dict[str, int]:
        """Status -> number of jobs, kept up to date with every commit."""
        ...
