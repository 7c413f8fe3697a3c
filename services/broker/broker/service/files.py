"""Files of jobs: uploads on their way to nodes, artifacts on their way back, and what goes when there is no room.

What a node sends for an attempt is pinned in the blob folder until the attempt is over. Its completion names the files;
they become the job's in the same commit. After a restart of the broker nothing is pinned: the completion is answered
with what is missing, and the node sends it again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from broker.clock import Clock
from broker.domain.words import JobStatus
from broker.errors import (
    ArtifactRefusedError,
    BrokerError,
    InvalidFieldError,
    NotFoundError,
    StaleLeaseError,
    StorageFullError,
    StoreBrokenError,
)
from broker.logs import EventLog
from broker.service.places import Places
from broker.service.sessions import NodeSession, SessionBook
from broker.settings import Settings
from broker.store.base import Store
from broker.store.blobs.folder import BlobFolder, OpenBlob
from broker.store.blobs.writer import Blob, BlobWriter
from broker.store.changes import Step
from broker.store.records.attempt import Completion
from broker.store.records.job import StoredFile

__all__ = ["Files"]

log = EventLog(__name__)

HELD = (JobStatus.ASSIGNED, JobStatus.RUNNING)
MAX_ARTIFACTS = 10_000
"""Files of one job."""
SPENT_EVERY_SECONDS = 5.0
FULL_ABOVE, EVICT_TO = 0.9, 0.8
"""When more than the first part of the room is used, the oldest artifacts go until the second part is."""
STILL_SENDING_SECONDS = 3.0
"""A node whose last bytes came so recently is still sending its cancelled job's files."""


@dataclass(slots=True)
class _Arriving:
    """What a node has sent of one attempt's files."""

    fence: int
    sizes: dict[str, int] = field(default_factory=dict)
    """SHA-256 -> size of what is pinned."""
    total: int = 0
    last_at: float = 0.0


class Files:
    """Lives on the event loop; the folder's threads touch the disk."""

    def __init__(self, store: Store, book: SessionBook, folder: BlobFolder, clock: Clock, settings: Settings) -> None:
        self.folder = folder
        self._store = store
        self._book = book
        self._clock = clock
        self._settings = settings
        self._arriving: dict[str, _Arriving] = {}
        self.from_clients = Places(settings.max_uploads)
        self._from_nodes = Places(settings.max_uploads)
        """Places of their own: slow clients must not keep results away."""
        self._spent_at = 0.0
        self._sweeping = asyncio.Lock()

    # ---- from clients

    def upload_writer(self) -> BlobWriter:
        """Takes one part of an upload."""
        most = self._settings.max_file_bytes
        too_large = ArtifactRefusedError("file_too_large", f"A file has at most {most} bytes.")
        return BlobWriter(self.folder, most, too_large)

    async def make_room(self, count: int) -> None:
        """Let the oldest artifacts go until `count` more bytes fit. StorageFullError when that does not help."""
        for _ in range(20):
            short = self.folder.stored_bytes + count - self._settings.max_stored_bytes
            if short <= 0:
                return
            if not await self._store.drop_artifacts(short) and not self.folder.has_suspects:
                break
            await self.sweep()
        raise StorageFullError

    # ---- from and to nodes

    async def attempt(self, node_id: str, token: str, job_id: str, fence: int) -> NodeSession:
        """The session of a node that holds this attempt. UnknownNodeError, SessionEndedError, StaleLeaseError."""
        session = self._book.check(node_id, token)
        job = await self._store.job(job_id)
        if job is None or job.status not in HELD or (job.node_id, job.fence) != (node_id, fence):
            raise StaleLeaseError
        return session

    async def open_input(self, job_id: str, sha256: str) -> OpenBlob:
        """What the job was submitted with. NotFoundError."""
        size = await self._store.input_size(job_id, sha256)
        if size is None:
            raise NotFoundError("The job was not submitted with this content.")
        if self.folder.size(sha256) != size:  # for good: to try again would not help
            raise NotFoundError("The broker's disk has lost this content.")
        return await self.folder.read(sha256)

    async def put_artifact(self, job_id: str, fence: int, sha256: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Take a file of a held attempt. ArtifactRefusedError, StorageFullError, InvalidFieldError for a wrong hash."""
        most = self._settings.max_file_bytes
        too_large = ArtifactRefusedError("artifact_too_large", f"An artifact has at most {most} bytes.")
        if size > most:
            raise too_large
        arriving = self._of(job_id, fence)
        if arriving.total + size > self._settings.max_artifacts_bytes:
            limit = self._settings.max_artifacts_bytes
            raise ArtifactRefusedError("job_artifacts_too_large", f"A job's artifacts have at most {limit} bytes.")
        arriving.total += size
        try:
            await self.make_room(size)
            blob = await self._receive(arriving, too_large, chunks)
        except BaseException:
            arriving.total -= size
            raise
        self._keep(job_id, arriving, sha256, blob)

    async def _receive(self, arriving: _Arriving, too_large: BrokerError, chunks: AsyncIterator[bytes]) -> Blob:
        self._from_nodes.enter(None)
        try:
            async with BlobWriter(self.folder, self._settings.max_file_bytes, too_large) as writer:
                async for chunk in chunks:
                    arriving.last_at = self._clock.now()
                    await writer.write(chunk)
                return await writer.finish()
        finally:
            self._from_nodes.leave(None)

    def _keep(self, job_id: str, arriving: _Arriving, sha256: str, blob: Blob) -> None:
        """`arriving.total` has counted it already."""
        if blob.sha256 != sha256:
            arriving.total -= blob.size
            self.folder.unpin(blob.sha256)
            message = f"The content's SHA-256 is {blob.sha256}: send it again."
            raise InvalidFieldError("sha256", message, "wrong_checksum")
        if self._arriving.get(job_id) is not arriving or sha256 in arriving.sizes:
            arriving.total -= blob.size
            self.folder.unpin(sha256)  # the attempt is over, or the same was sent before
            return
        arriving.sizes[sha256] = blob.size

    def missing(self, job_id: str, fence: int, wanted: Iterable[str]) -> list[str]:
        """Which of these contents were not sent for this attempt yet."""
        arriving = self._arriving.get(job_id)
        there = arriving.sizes if arriving is not None and arriving.fence == fence else {}
        return [sha256 for sha256 in dict.fromkeys(wanted) if sha256 not in there]

    async def settle(self, node_id: str, completion: Completion) -> tuple[Completion, tuple[str, ...]]:
        """The completion with those of its files that are kept, and what has to be sent first."""
        if not completion.artifacts or completion.fence is None:
            return replace(completion, artifacts=()), ()
        missing = self.missing(completion.job_id, completion.fence, (file.sha256 for file in completion.artifacts))
        if not missing:
            return _true_sizes(completion, self._arriving[completion.job_id].sizes), ()
        job = await self._store.job(completion.job_id)
        if job is None or job.status not in HELD or (job.node_id, job.fence) != (node_id, completion.fence):
            return replace(completion, artifacts=()), ()  # a duplicate, or late: the store will say
        return completion, tuple(missing)

    def stepped(self, steps: Iterable[Step]) -> None:
        """Jobs went on: what was pinned for attempts that are over belongs to rows now, or to nobody."""
        if not self._arriving:
            return
        for step in steps:
            if step.new not in HELD:
                self._forget(step.job_id)

    def sending(self) -> frozenset[str]:
        """Jobs whose files keep arriving: when they are cancelled they get more time."""
        since = self._clock.now() - STILL_SENDING_SECONDS
        return frozenset(job_id for job_id, arriving in self._arriving.items() if arriving.last_at >= since)

    def _of(self, job_id: str, fence: int) -> _Arriving:
        known = self._arriving.get(job_id)
        if known is not None and known.fence == fence:
            return known
        self._forget(job_id)
        made = self._arriving[job_id] = _Arriving(fence)
        return made

    def _forget(self, job_id: str) -> None:
        arriving = self._arriving.pop(job_id, None)
        if arriving is not None:
            for sha256 in arriving.sizes:
                self.folder.unpin(sha256)

    # ---- reading

    async def artifacts(self, job_id: str) -> Sequence[StoredFile]:
        """What a job left, by path."""
        return await self._store.artifacts(job_id)

    async def artifact(self, job_id: str, path: str) -> StoredFile | None:
        """One of these."""
        return await self._store.artifact(job_id, path)

    async def open_artifact(self, file: StoredFile) -> OpenBlob:
        """Its content. StoreBrokenError when it is not there whole."""
        self._check(file)
        return await self.folder.read(file.sha256)

    def pin_all(self, wanted: Sequence[StoredFile]) -> None:
        """Keep the contents until `unpin_all`. StoreBrokenError when one is not there whole."""
        for file in wanted:
            self._check(file)
        for file in wanted:
            self.folder.pin(file.sha256)

    def unpin_all(self, wanted: Sequence[StoredFile]) -> None:
        """Let them go."""
        for file in wanted:
            self.folder.unpin(file.sha256)

    def _check(self, file: StoredFile) -> None:
        if self.folder.size(file.sha256) != file.size:
            log.error("the content of a file is lost or damaged", blob=file.sha256)
            raise StoreBrokenError("The broker's disk has lost this content.")

    # ---- time

    def released(self, names: Iterable[str]) -> None:
        """Rows that referred to these contents are gone."""
        self.folder.suspect(names)

    async def tick(self) -> None:
        """Do what is due; called about twice a second."""
        now = self._clock.now()
        if now - self._spent_at >= SPENT_EVERY_SECONDS:
            self._spent_at = now
            await self._store.drop_spent_inputs()
            most = self._settings.max_stored_bytes
            if self.folder.stored_bytes > FULL_ABOVE * most:
                dropped = await self._store.drop_artifacts(int(self.folder.stored_bytes - EVICT_TO * most))
                log.warning("the oldest artifacts go", stored_bytes=self.folder.stored_bytes, dropped_bytes=dropped)
        if self.folder.has_suspects:
            await self.sweep()

    async def sweep(self) -> None:
        """Delete contents that nobody refers to."""
        async with self._sweeping:  # the folder condemns one batch at a time
            await self.folder.sweep(self._store.referenced)


def _true_sizes(completion: Completion, sizes: Mapping[str, int]) -> Completion:
    """With the sizes of what arrived, whatever the node says."""
    artifacts = tuple(replace(file, size=sizes[file.sha256]) for file in completion.artifacts)
    more = sum(file.size for file in artifacts) - sum(file.size for file in completion.artifacts)
    return replace(completion, artifacts=artifacts, stored_bytes=completion.stored_bytes + more)
