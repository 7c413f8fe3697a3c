"""What a job has printed so far, for clients that ask now and then."""

import asyncio
from dataclasses import dataclass

from broker.domain.words import JobStatus
from broker.service.live.book import STREAMS, AttemptLog, LiveBook, Watch
from broker.service.live.final import FinalStream, final_streams
from broker.service.live.text import whole_characters
from broker.service.live.window import Source
from broker.service.queries import Queries
from broker.store.records.job import Job

__all__ = ["Snapshot", "StreamText", "take"]

FIRST_NEWS_SECONDS = 1.0
"""How long the first call waits for the node to send what there is."""
LONGEST = 16 * 1024 * 1024
HELD = (JobStatus.ASSIGNED, JobStatus.RUNNING)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class StreamText:
    """A stretch of a stream: all that is kept from `start` on, up to the next gap or the end."""

    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`streams` has `stdout` and `stderr`."""

    job: Job
    streams: dict[str, StreamText]


async def take(live: LiveBook, queries: Queries, job_id: str, offsets: tuple[int, int], wait: float) -> Snapshot:
    """What was printed from the offsets on. With `wait`, as soon as there is something, or when the job has ended or
    the seconds are over. NotFoundError, GoneError, OverloadedError."""
    watch = live.watch(job_id)
    try:
        return await _look(live, queries, watch, offsets, wait)
    finally:
        live.unwatch(watch)


async def _look(live: LiveBook, queries: Queries, watch: Watch, offsets: tuple[int, int], wait: float) -> Snapshot:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        job = await queries.job(watch.job_id)
        if job.status in ENDED:
            result = await queries.result(watch.job_id)
            return Snapshot(result.job, _streams(final_streams(result), offsets, last=True))
        log = live.order(job) if job.status in HELD else None
        found = Snapshot(job, _streams(_windows(log), offsets, last=False))
        patience = wait if log is None or log.heard else max(wait, FIRST_NEWS_SECONDS)
        left = began + patience - loop.time()
        if any(stream.data for stream in found.streams.values()) or left <= 0 or watch.closed:
            return found
        if log is not None and log.heard and not wait:
            return found
        await watch.wait(left)


def _windows(log: AttemptLog | None) -> dict[str, Source]:
    return {} if log is None else {name: log.streams[name] for name in STREAMS}


def _streams(
    sources: dict[str, Source] | dict[str, FinalStream], offsets: tuple[int, int], *, last: bool
) -> dict[str, StreamText]:
    shown = {}
    for name, offset in zip(STREAMS, offsets, strict=True):
        source = sources.get(name)
        shown[name] = StreamText(offset, b"") if source is None else _stretch(source, offset, last=last)
    return shown


def _stretch(source: Source, offset: int, *, last: bool) -> StreamText:
    """All that follows without a gap."""
    first = source.read(offset, LONGEST)
    if first is None:
        return StreamText(offset, b"")
    parts, end = [first.data], first.end
    while (piece := source.read(end, LONGEST)) is not None and piece.start == end:
        parts.append(piece.data)
        end = piece.end
    data = b"".join(parts)
    return StreamText(first.start, data if last else whole_characters(data))
