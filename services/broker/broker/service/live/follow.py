"""Following one job to its end: attempts, output, verdict, each byte once, across failovers and reconnects."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from broker.domain.words import JobStatus
from broker.service.live.book import STREAMS, AttemptLog, LiveBook, Watch
from broker.service.live.final import FinalStream, final_streams
from broker.service.live.text import whole_characters
from broker.service.live.window import Piece, Source, next_piece
from broker.service.queries import Queries
from broker.store.records.job import Job, Result

__all__ = ["AttemptBegan", "Cursor", "Ended", "Event", "Gap", "KeepAlive", "Output", "StatusChanged", "follow"]

KEEP_ALIVE_SECONDS = 15.0
"""Also how often a reader looks at the job although nothing was heard of it."""
PIECE_BYTES = 64 * 1024
"""The most that one event carries."""
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)
HELD = (JobStatus.ASSIGNED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader is: in which attempt (0: none yet), and at which byte of each of its streams."""

    fence: int = 0
    stdout: int = 0
    stderr: int = 0
    ended: bool = False
    """The reader has had the verdict."""

    def at(self, stream: str) -> int:
        """The offset in one of the streams."""
        return self.stdout if stream == "stdout" else self.stderr

    def moved(self, stream: str, offset: int) -> "Cursor":
        """The same place with one stream read up to `offset`."""
        return replace(self, stdout=offset) if stream == "stdout" else replace(self, stderr=offset)


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The job's status, when it is not what it was."""

    cursor: Cursor
    status: JobStatus


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """Another attempt's output follows; its offsets begin at 0."""

    cursor: Cursor
    number: int
    node_id: str | None


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of a stream from `offset` on. Characters come whole, unless the stream is no UTF-8."""

    cursor: Cursor
    stream: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a stream that are kept nowhere."""

    cursor: Cursor
    stream: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event."""

    cursor: Cursor
    result: Result


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing for a while."""

    cursor: Cursor


Event = StatusChanged | AttemptBegan | Output | Gap | Ended | KeepAlive


async def follow(live: LiveBook, queries: Queries, job_id: str, cursor: Cursor) -> AsyncIterator[Event]:
    """The job's events from `cursor` on. Ends after `Ended`, or without it when the broker stops.

    OverloadedError, NotFoundError and GoneError, also later when the job is deleted meanwhile.
    """
    watch = live.watch(job_id)
    try:
        async for event in _Reader(live, queries, watch, cursor).events():
            yield event
    finally:
        live.unwatch(watch)


class _Reader:
    def __init__(self, live: LiveBook, queries: Queries, watch: Watch, cursor: Cursor) -> None:
        self._live = live
        self._queries = queries
        self._watch = watch
        self._cursor = cursor
        self._log: AttemptLog | None = None
        self._status: JobStatus | None = None

    async def events(self) -> AsyncIterator[Event]:
        while not self._watch.closed:
            self._watch.changed = False
            job = await self._queries.job(self._watch.job_id)
            if job.status in ENDED:
                async for event in self._end():
                    yield event
                return
            for event in self._look_at(job):
                yield event
            while not self._watch.changed and not self._watch.closed:
                for event in self._read():
                    yield event
                if not await self._watch.wait(KEEP_ALIVE_SECONDS):
                    yield KeepAlive(self._cursor)
                    break

    def _look_at(self, job: Job) -> list[Event]:
        events: list[Event] = self._read(last=job.fence != self._cursor.fence)
        if job.status is not self._status:
            self._status = job.status
            events.append(StatusChanged(self._cursor, job.status))
        if job.status in HELD:
            events += self._enter(job)
            self._log = self._live.order(job)
        return events

    def _enter(self, job: Job) -> list[Event]:
        if job.fence == self._cursor.fence:
            return []
        self._cursor = Cursor(job.fence)
        return [AttemptBegan(self._cursor, job.attempt, job.node_id)]

    async def _end(self) -> AsyncIterator[Event]:
        """What is left of the output, from whoever has it, and the verdict."""
        result = await self._queries.result(self._watch.job_id)
        job = result.job
        final = final_streams(result)
        for event in self._read(last=True, final=final if job.fence == self._cursor.fence else {}):
            yield event
        if job.fence != self._cursor.fence and job.attempt and final:
            for event in self._enter(job):
                yield event
            self._log = None
            for event in self._read(last=True, final=final):
                yield event
        yield Ended(replace(self._cursor, ended=True), result)

    def _read(self, *, last: bool = False, final: dict[str, FinalStream] | None = None) -> list[Event]:
        """All that is there behind the cursor. `last`: no more of this attempt will come."""
        events: list[Event] = []
        for stream in STREAMS:
            sources: list[Source] = []
            if self._log is not None and self._log.fence == self._cursor.fence:
                sources.append(self._log.streams[stream])
            if final:
                sources.append(final[stream])
            events += self._read_stream(stream, sources, final[stream].total if final else None, last=last)
        return events

    def _read_stream(self, stream: str, sources: list[Source], total: int | None, *, last: bool) -> list[Event]:
        events: list[Event] = []
        while True:
            at = self._cursor.at(stream)
            found = next_piece(sources, at, PIECE_BYTES)
            if found is None:
                break
            if found.start > at:
                events.append(self._gap(stream, found.start))
            data = _presentable(sources, found, last=last)
            if not data:
                break
            self._cursor = self._cursor.moved(stream, found.start + len(data))
            events.append(Output(self._cursor, stream, found.start, data))
        if total is not None and self._cursor.at(stream) < total:
            events.append(self._gap(stream, total))
        return events

    def _gap(self, stream: str, end: int) -> Gap:
        start = self._cursor.at(stream)
        self._cursor = self._cursor.moved(stream, end)
        return Gap(self._cursor, stream, start, end)


def _presentable(sources: list[Source], piece: Piece, *, last: bool) -> bytes:
    """The piece without a character that has only begun, if the rest of it is still to come."""
    whole = whole_characters(piece.data)
    if len(whole) == len(piece.data) or (last and next_piece(sources, piece.end, 1) is None):
        return piece.data
    if whole:
        return whole
    # A few bytes only: with their neighbours they may be a whole character, or are none at all.
    wider = _joined(sources, piece)
    whole = whole_characters(wider)
    return whole if whole else (wider if last else b"")


def _joined(sources: list[Source], piece: Piece) -> bytes:
    """The piece with the bytes that follow it, as far as they are there; enough for the longest character."""
    data = piece.data
    while len(data) < 4:
        more = next_piece(sources, piece.start + len(data), 4 - len(data))
        if more is None or more.start != piece.start + len(data):
            break
        data += more.data
    return data
