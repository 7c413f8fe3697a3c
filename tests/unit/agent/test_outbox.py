"""Results between the run and the broker: in memory, on disk, delivered once."""

from pathlib import Path
from typing import Any

import pytest

from agent.model import Completion, Key
from agent.outbox import FULL_RESULTS, MAX_AGE, Outbox
from agent.spool import Entry, Spool

WHO = {"node_id": "n", "session": "s"}


def entry(job: str, fence: int = 1, output: str = "out", who: dict[str, Any] = WHO) -> Entry:
    return Entry(who, Completion(Key(job, fence), None, 0, output).wire())


def files(folder: Path) -> list[Path]:
    return sorted((folder / "spool").iterdir())


def test_immediate_delivery_touches_no_disk(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    assert [e.key.job_id for e in outbox.take(0)] == ["a"]
    assert outbox.take(0) == []
    outbox.done(Key("a", 1))
    assert (files(tmp_path), len(outbox)) == ([], 0)


def test_what_takes_longer_is_written_and_removed(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    outbox.take(0)
    outbox.persist(older_than=60)
    assert files(tmp_path) == []
    outbox.persist(older_than=0)
    assert len(files(tmp_path)) == 1
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600
    outbox.done(Key("a", 1))
    assert files(tmp_path) == []


def test_failed_delivery_is_kept_and_comes_again(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    outbox.later(outbox.take(0)[0], delay=30)
    assert len(files(tmp_path)) == 1
    assert outbox.take(0) == []
    outbox.hurry()
    assert len(outbox.take(0)) == 1


def test_restart_finds_everything(tmp_path: Path) -> None:
    first = Outbox(Spool(tmp_path))
    for number in range(3):
        first.add(entry(f"../{number}/ö", output="x" * number))
    first.persist(0)
    second = Outbox(Spool(tmp_path))
    assert second.load() == 3
    found = {e.key.job_id: e for e in second.take(0)}
    assert set(found) == {f"../{n}/ö" for n in range(3)}
    assert found["../2/ö"] == entry("../2/ö", output="xx")
    assert all(path.parent == tmp_path / "spool" for path in files(tmp_path))


def test_damaged_files_are_put_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.keep(entry("good"))
    for number, text in enumerate(("{", '{"who":{}}', '{"who":{},"completion":{"job_id":1,"fence":2}}')):
        (tmp_path / "spool" / f"{number}.json").write_text(text)
    assert [e.key.job_id for e in spool.load()] == ["good"]
    assert len(files(tmp_path)) == 1


def test_half_written_file_of_a_crash_is_put_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "spool" / "0123.1.json.new").write_text('{"who":{},"completion":{"job_id":"j","fence":1}}')
    assert spool.load() == []
    assert files(tmp_path) == []


def test_full_disk_leaves_results_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.spool.write_durably", full)
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    outbox.persist(0)
    outbox.later(outbox.take(0)[0], 0)
    assert len(outbox.take(0)) == 1


def test_unwritable_folder_means_memory_only(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file, not a folder")
    assert Spool(tmp_path).keep(entry("a")) is False
    assert Spool(None).load() == []


def test_batches_are_of_one_session_and_one_attempt_a_job(tmp_path: Path) -> None:
    outbox = Outbox(Spool(None))
    other = {"node_id": "n", "session": "older"}
    for one in (entry("a", 1), entry("a", 2), entry("b", 1), entry("c", 1, who=other)):
        outbox.add(one)
    assert [e.key for e in outbox.take(0)] == [("a", 1), ("b", 1)]
    assert [e.key for e in outbox.take(0)] == [("a", 2)]
    assert [e.key for e in outbox.take(0)] == [("c", 1)]


def test_large_results_travel_alone() -> None:
    outbox = Outbox(Spool(None))
    for job in ("a", "b"):
        outbox.add(entry(job, output="x" * (1 << 20)))
    assert len(outbox.take(0)) == 1
    assert len(outbox.take(0)) == 1


def test_full_outbox_says_so() -> None:
    outbox = Outbox(Spool(None))
    for number in range(FULL_RESULTS):
        assert not outbox.full
        outbox.add(entry(f"j{number}"))
    assert outbox.full
    few = Outbox(Spool(None))
    few.add(entry("big", output="x" * (64 << 20)))
    assert few.full


def test_result_nobody_takes_is_dropped_at_last(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    taken = outbox.take(0)[0]
    outbox.persist(0)
    outbox._items[taken.key].added -= MAX_AGE + 1
    outbox.later(taken, 0)
    assert (len(outbox), files(tmp_path)) == (0, [])


def test_result_acknowledged_while_it_is_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    outbox = Outbox(spool)
    keep = spool.keep

    def acknowledged_meanwhile(one: Entry) -> bool:
        kept = keep(one)
        outbox.done(one.key)
        return kept

    monkeypatch.setattr(spool, "keep", acknowledged_meanwhile)
    outbox.add(entry("a"))
    outbox.persist(0)
    assert files(tmp_path) == []
