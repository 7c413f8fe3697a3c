"""Who reads which job's output now, what has arrived of it, and which nodes were asked to send it.

Nothing is sent or kept for jobs that nobody reads. What is asked of a node is told over its link at once, and with
every heartbeat's answer, so that a lost line is made good.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.errors import OverloadedError
from broker.service.links import Links
from broker.service.live.window import Window
from broker.store.changes import Step
from broker.store.records.attempt import Ref
from broker.store.records.job import Job

__all__ = ["STREAMS", "AttemptLog", "Chunk", "FollowOrder", "LiveBook", "Watch"]

STREAMS = ("stdout", "stderr")
LINGER_SECONDS = 30.0
"""How long a job is followed after its last reader: longer than a client pauses between two calls of /logs."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a node says of one stream of an attempt; empty when it has nothing yet."""

    job_id: str
    fence: int
    stream: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FollowOrder:
    """A node is to send an attempt's output, from these offsets on."""

    job_id: str
    fence: int
    stdout_from: int
    stderr_from: int


class AttemptLog:
    """What has arrived of one attempt's output. `heard`: its node has answered, if only that there is nothing."""

    def __init__(self, node_id: str, fence: int, limit: int) -> None:
        self.node_id = node_id
        self.fence = fence
        self.heard = False
        self.streams = {name: Window(limit) for name in STREAMS}

    @property
    def size(self) -> int:
        """Bytes kept."""
        return sum(window.size for window in self.streams.values())


class Watch:
    """One reader of one job. `changed`: the job took a step since the reader last looked."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.changed = True
        self.closed = False
        self.bell = asyncio.Event()

    def ring(self, *, changed: bool = False) -> None:
        """There are news."""
        self.changed = self.changed or changed
        self.bell.set()

    async def wait(self, seconds: float) -> bool:
        """Until there are news; False when the time is up."""
        try:
            async with asyncio.timeout(seconds):
                await self.bell.wait()
        except TimeoutError:
            return False
        self.bell.clear()
        return True


@dataclass(slots=True)
class _Followed:
    watches: set[Watch] = field(default_factory=set)
    log: AttemptLog | None = None
    leaving: asyncio.TimerHandle | None = None


class LiveBook:
    """Lives on the event loop. Limits: `readers` at a time, bytes of a stream, bytes of all."""

    def __init__(self, links: Links, *, readers: int, stream_bytes: int, total_bytes: int) -> None:
        self._links = links
        self._readers_limit = readers
        self._stream_bytes = stream_bytes
        self._total_bytes = total_bytes
        self._jobs: dict[str, _Followed] = {}
        self._nodes: dict[str, set[str]] = {}
        """Node id -> jobs that it was asked to send the output of."""
        self._readers = 0
        self._size = 0
        self._closed = False

    def __len__(self) -> int:
        return self._readers

    @property
    def size(self) -> int:
        """Bytes of output in memory."""
        return self._size

    def watch(self, job_id: str) -> Watch:
        """Begin to read; give it back with `unwatch`. OverloadedError."""
        if self._readers >= self._readers_limit:
            raise OverloadedError("Too many read live output: try again later.")
        followed = self._jobs.setdefault(job_id, _Followed())
        if followed.leaving is not None:
            followed.leaving.cancel()
            followed.leaving = None
        watch = Watch(job_id)
        watch.closed = self._closed
        followed.watches.add(watch)
        self._readers += 1
        return watch

    def unwatch(self, watch: Watch) -> None:
        """The reader has gone. The output stays for a while: clients that ask again and again are readers too."""
        followed = self._jobs[watch.job_id]
        followed.watches.discard(watch)
        self._readers -= 1
        if not followed.watches:
            seconds = LINGER_SECONDS if followed.log is not None and not self._closed else 0.0
            loop = asyncio.get_running_loop()
            followed.leaving = loop.call_later(seconds, self._leave, watch.job_id)

    def order(self, job: Job) -> AttemptLog:
        """The log of the attempt that the job's node holds; the node is asked for it if it was not yet."""
        followed, node_id = self._jobs[job.id], job.node_id or ""
        log = followed.log
        if log is not None and log.fence == job.fence:
            return log
        self._drop_log(job.id, followed)
        log = followed.log = AttemptLog(node_id, job.fence, self._stream_bytes)
        self._nodes.setdefault(node_id, set()).add(job.id)
        news = {"type": "follow", "job_id": job.id, "fence": job.fence, "stdout_from": 0, "stderr_from": 0}
        self._links.tell(node_id, news)
        return log

    def orders(self, node_id: str) -> list[FollowOrder]:
        """All that the node is to send."""
        found = []
        for job_id in self._nodes.get(node_id, ()):
            log = self._jobs[job_id].log
            if log is not None:
                ends = [log.streams[name].end for name in STREAMS]
                found.append(FollowOrder(job_id, log.fence, ends[0], ends[1]))
        return found

    def take(self, node_id: str, chunks: Iterable[Chunk]) -> list[Ref]:
        """Take what a node sends; the answer names the attempts that it is to send no more of."""
        unwanted: list[Ref] = []
        for chunk in chunks:
            followed = self._jobs.get(chunk.job_id)
            log = followed.log if followed is not None else None
            if followed is None or log is None or (log.fence, log.node_id) != (chunk.fence, node_id):
                unwanted.append((chunk.job_id, chunk.fence))
                continue
            before = log.size
            news = log.streams[chunk.stream].add(chunk.offset, chunk.data) or not log.heard
            log.heard = True
            self._size += log.size - before
            self._keep_within_limit(log)
            if news:
                for watch in followed.watches:
                    watch.ring()
        return sorted(set(unwanted))

    def stepped(self, steps: Iterable[Step]) -> None:
        """Jobs went on to another status."""
        if not self._jobs:
            return
        for step in steps:
            followed = self._jobs.get(step.job_id)
            if followed is not None:
                for watch in followed.watches:
                    watch.ring(changed=True)

    def close(self) -> None:
        """The broker stops: readers go."""
        self._closed = True
        for followed in self._jobs.values():
            if followed.leaving is not None:
                followed.leaving.cancel()
            for watch in followed.watches:
                watch.closed = True
                watch.ring()

    def _keep_within_limit(self, log: AttemptLog) -> None:
        """Whoever makes the memory overflow keeps less of his own."""
        if self._size <= self._total_bytes:
            return
        before = log.size
        for window in log.streams.values():
            window.shrink(window.size // 2)
        self._size += log.size - before

    def _leave(self, job_id: str) -> None:
        followed = self._jobs.pop(job_id)
        log = followed.log
        if log is not None:
            self._links.tell(log.node_id, {"type": "unfollow", "job_id": job_id, "fence": log.fence})
        self._drop_log(job_id, followed)

    def _drop_log(self, job_id: str, followed: _Followed) -> None:
        log, followed.log = followed.log, None
        if log is None:
            return
        self._size -= log.size
        jobs = self._nodes.get(log.node_id)
        if jobs is not None:
            jobs.discard(job_id)
            if not jobs:
                del self._nodes[log.node_id]
