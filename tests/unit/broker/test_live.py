"""Following a job's output: each byte once, in order, whatever is sent, resent, cut, or read late."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.words import Failure, JobStatus
from broker.errors import OverloadedError
from broker.service.live.book import Chunk, LiveBook
from broker.service.live.final import final_streams
from broker.service.live.follow import AttemptBegan, Cursor, Ended, Event, Gap, Output, follow
from broker.service.live.text import whole_characters
from broker.service.live.window import Window
from broker.store.changes import Step
from broker.store.records.job import Job, Result

JOB = "job"


def job(status: JobStatus, *, fence: int = 1, failure: Failure | None = None) -> Job:
    values: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    values |= {"id": JOB, "status": status, "fence": fence, "attempt": fence, "node_id": f"node-{fence}"}
    return Job(**values | {"failure": failure})


@dataclass
class Story:
    """A job as the broker's queries show it, and the live book beside it."""

    told: list[dict[str, Any]] = field(default_factory=list)
    now: Job = field(default_factory=lambda: job(JobStatus.RUNNING))
    result_now: Result | None = None

    def __post_init__(self) -> None:
        self.book = LiveBook(cast(Any, self), readers=100, stream_bytes=1 << 20, total_bytes=1 << 21)

    def tell(self, node_id: str, news: dict[str, Any]) -> None:
        self.told.append({"node_id": node_id, **news})

    async def job(self, job_id: str) -> Job:
        assert job_id == JOB
        return self.now

    async def result(self, job_id: str) -> Result:
        assert self.result_now is not None
        return self.result_now

    def goes(self, status: JobStatus, *, fence: int = 1) -> None:
        old, self.now = self.now.status, job(status, fence=fence)
        self.book.stepped([Step(JOB, old, status, "", 5)])

    def sends(self, data: bytes, offset: int, *, fence: int = 1, stream: str = "stdout") -> list[Any]:
        return self.book.take(f"node-{fence}", [Chunk(JOB, fence, stream, offset, data)])

    def ends(self, output: bytes, *, keep: int | None = None, fence: int = 1) -> None:
        """With more than `keep` bytes the middle is cut, as sandrun does."""
        details: dict[str, Any] = {"output_bytes": len(output), "error_bytes": 0}
        kept = output
        if keep is not None and len(output) > keep:
            head = keep // 2
            kept = output[:head] + output[len(output) - (keep - head) :]
            details["output_cut_at"] = head
        ended = job(JobStatus.FAILED, fence=fence, failure=Failure.EXIT)
        self.result_now = Result(ended, kept.decode("utf-8", "replace"), "", json.dumps(details), kept)
        self.goes(JobStatus.FAILED, fence=fence)


async def read_to_the_end(story: Story, reconnect_after: list[int]) -> list[Event]:
    """All events, with the connection given up and resumed by cursor after so many events each."""
    events: list[Event] = []
    cursor = Cursor()
    budgets = iter(reconnect_after)
    while not events or not isinstance(events[-1], Ended):
        budget = next(budgets, 10**9)
        stream = follow(story.book, cast(Any, story), JOB, cursor)
        async for event in stream:
            cursor = event.cursor
            events.append(event)
            budget -= 1
            if budget <= 0:
                break
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
    return events


def check(events: list[Event], truth: dict[int, bytes], *, gaps: bool) -> None:
    """Output and gaps cover each attempt's stdout from 0 on, without overlap, and say what was printed."""
    fence, at = 0, 0
    for event in events:
        match event:
            case AttemptBegan():
                assert event.cursor.fence > fence
                fence, at = event.cursor.fence, 0
            case Output():
                assert event.offset == at
                assert event.data == truth[fence][at : at + len(event.data)]
                at += len(event.data)
            case Gap():
                assert gaps, "nothing was cut"
                assert event.start == at < event.end
                at = event.end
            case _:
                pass
    assert at == len(truth[fence])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_reader_gets_every_byte_once(data: st.DataObject) -> None:
    output = data.draw(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(str.encode)))
    keep = data.draw(st.one_of(st.none(), st.integers(2, 120)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=8)))
    readers = data.draw(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 4), max_size=5)), max_size=4))
    heard = data.draw(st.integers(0, len(output)))
    again = data.draw(st.integers(0, 30))

    async def run() -> None:
        story = Story()
        tasks: list[tuple[asyncio.Task[list[Event]], int]] = []
        keeper = story.book.watch(JOB)
        story.book.order(story.now)
        at = 0
        for step, cut in enumerate([*cuts, heard]):
            tasks += [
                (asyncio.create_task(read_to_the_end(story, budget)), step) for when, budget in readers if when == step
            ]
            end = min(cut, heard)
            start = max(0, at - again)
            if end > at:
                story.sends(output[start:end], start)
                at = end
            for _ in range(5):
                await asyncio.sleep(0)
        story.ends(output, keep=keep)
        tasks += [(asyncio.create_task(read_to_the_end(story, budget)), 99) for when, budget in readers]
        async with asyncio.timeout(60):
            for task, _ in tasks:
                check(await task, {1: output}, gaps=keep is not None and keep < len(output))
        story.book.unwatch(keeper)
        story.book.close()

    asyncio.run(run())


def test_a_failover_begins_anew_and_is_announced() -> None:
    async def run() -> None:
        story = Story()
        reading = asyncio.create_task(read_to_the_end(story, []))
        await settle()
        story.sends(b"first half", 0)
        await settle()
        story.goes(JobStatus.PENDING)
        await settle()
        story.goes(JobStatus.RUNNING, fence=3)
        await settle()
        assert story.sends(b" of a zombie", 10) == [(JOB, 1)], "the old attempt is not wanted any more"
        story.sends(b"all of it", 0, fence=3)
        await settle()
        story.ends(b"all of it", fence=3)
        events = await asyncio.wait_for(reading, 60)
        check(events, {1: b"first half", 3: b"all of it"}, gaps=False)
        assert [e.number for e in events if isinstance(e, AttemptBegan)] == [1, 3]
        assert [(t["node_id"], t["type"], t["fence"]) for t in story.told] == [
            ("node-1", "follow", 1),
            ("node-3", "follow", 3),
        ]
        story.book.close()

    asyncio.run(run())


def test_a_reader_that_comes_late_or_with_another_cursor_gets_the_verdict() -> None:
    async def run() -> None:
        story = Story()
        story.ends("grüße".encode())
        for cursor in (Cursor(), Cursor(1, 2), Cursor(1, 3), Cursor(7, 5), Cursor(1, 10**12)):
            events = [event async for event in follow(story.book, cast(Any, story), JOB, cursor)]
            assert isinstance(events[-1], Ended)
        last = [event async for event in follow(story.book, cast(Any, story), JOB, Cursor(1, 2))]
        assert [e.data for e in last if isinstance(e, Output)] == ["üße".encode()]
        story.book.close()

    asyncio.run(run())


def test_characters_come_whole_unless_they_never_end() -> None:
    async def run() -> None:
        story = Story()
        reading = asyncio.create_task(read_to_the_end(story, []))
        await settle()
        euro = "€".encode()
        for place in range(3):
            story.sends(euro[place : place + 1], place)
            await settle()
        story.sends(euro[:2], 3)
        await settle()
        story.ends(euro + euro[:2])
        events = await asyncio.wait_for(reading, 60)
        assert [e.data for e in events if isinstance(e, Output)] == [euro, euro[:2]]
        story.book.close()

    asyncio.run(run())


def test_what_nobody_reads_is_not_kept_and_chunks_of_strangers_are_not_taken() -> None:
    async def run() -> None:
        story = Story()
        assert story.sends(b"x", 0) == [(JOB, 1)]
        watch = story.book.watch(JOB)
        assert story.sends(b"x", 0) == [(JOB, 1)], "its node was not asked yet"
        story.book.order(story.now)
        assert story.book.take("node-9", [Chunk(JOB, 1, "stdout", 0, b"forged")]) == [(JOB, 1)]
        assert story.sends(b"abc", 0) == []
        assert story.sends(b"abc", 0) == []
        assert story.book.size == 3
        (order,) = story.book.orders("node-1")
        assert (order.stdout_from, order.stderr_from) == (3, 0)
        story.book.close()
        story.book.unwatch(watch)
        await settle()
        assert (story.book.size, story.book.orders("node-1"), len(story.book)) == (0, [], 0)
        assert story.told[-1]["type"] == "unfollow"

    asyncio.run(run())


def test_memory_and_readers_are_bounded() -> None:
    async def run() -> None:
        story = Story()
        book = LiveBook(cast(Any, story), readers=1, stream_bytes=1000, total_bytes=1200)
        watch = book.watch(JOB)
        with pytest.raises(OverloadedError):
            book.watch(JOB)
        book.order(story.now)
        for place in range(300):
            book.take("node-1", [Chunk(JOB, 1, "stdout", place * 10, b"0123456789")])
            book.take("node-1", [Chunk(JOB, 1, "stderr", place * 10, b"0123456789")])
        assert 0 < book.size <= 1200
        book.close()
        book.unwatch(watch)

    asyncio.run(run())


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=20), st.integers(1, 50))
def test_a_window_keeps_the_newest_bytes_as_they_came(chunks: list[tuple[int, bytes]], limit: int) -> None:
    window, truth = Window(limit), dict[int, int]()
    for offset, data in chunks:
        end = window.end
        window.add(offset, data)
        truth |= {place: byte for place, byte in enumerate(data, offset) if place >= end}
        assert window.size <= limit
    at = 0
    while (piece := window.read(at, 7)) is not None:
        assert 0 < len(piece.data) <= 7
        assert piece.start >= at
        assert [truth[piece.start + n] for n in range(len(piece.data))] == list(piece.data)
        at = piece.end
    assert at in (0, window.end)


@given(st.text(), st.integers(0, 3))
def test_whole_characters(text: str, less: int) -> None:
    data = text.encode()
    cut = data[: len(data) - less]
    whole = whole_characters(cut)
    assert whole.decode() == text[: len(whole.decode())]
    assert len(cut) - len(whole) < 4


def test_cut_text_gives_back_its_head_and_tail() -> None:
    text = "head\n[sandrun: 5 bytes cut here]\ntail"
    details = '{"output_bytes": 13, "output_cut_at": 4}'
    streams = final_streams(Result(job(JobStatus.COMPLETED), text, "", details))
    found = [streams["stdout"].read(0, 100), streams["stdout"].read(4, 100)]
    assert [(piece.start, piece.data) for piece in found if piece] == [(0, b"head"), (9, b"tail")]
    assert final_streams(Result(job(JobStatus.FAILED, failure=Failure.NODE_LOST), "", "", None)) == {}


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)
