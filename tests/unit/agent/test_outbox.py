"""Results between the run and the broker: in memory, on disk, delivered once."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.model import Completion, Key
from agent.outbox import FULL_RESULTS, Outbox
from agent.spool import MAX_AGE, Entry, Spool

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
    outbox.tidy(older_than=60)
    assert files(tmp_path) == []
    outbox.tidy(older_than=0)
    assert len(files(tmp_path)) == 1
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600
    outbox.done(Key("a", 1))
    outbox.tidy()
    assert files(tmp_path) == []


def test_failed_delivery_is_kept_and_comes_again(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    outbox.later(outbox.take(0)[0], delay=30)
    outbox.tidy()
    assert len(files(tmp_path)) == 1
    assert outbox.take(0) == []
    outbox.hurry()
    assert len(outbox.take(0)) == 1


def test_restart_finds_everything(tmp_path: Path) -> None:
    first = Outbox(Spool(tmp_path))
    for number in range(3):
        first.add(entry(f"../{number}/ö", output="x" * number))
    first.tidy(0)
    second = Outbox(Spool(tmp_path))
    assert second.load() == 3
    found = {e.key.job_id: e for e in second.take(0)}
    assert set(found) == {f"../{n}/ö" for n in range(3)}
    assert found["../2/ö"] == entry("../2/ö", output="xx")
    assert all(path.parent == tmp_path / "spool" for path in files(tmp_path))


NAME = "0123456789abcdef" * 2
DAMAGED: dict[str, Any] = {
    "half": b'{"who":{"node_id":"n"},"completion":{"job_id":"j"',
    "no JSON": b"\x00\xff",
    "deep": b"[" * 200_000,
    "a list": b"[]",
    "who is missing": {"completion": entry("a").completion},
    "nobody": {"who": {}, "completion": entry("a").completion},
    "a session without a node": {"who": {"session": "s"}, "completion": entry("a").completion},
    "a node that is a number": {"who": {"node_id": 5}, "completion": entry("a").completion},
    "no verdict": {"who": WHO, "completion": {"job_id": "j", "fence": 1}},
    "a job that is a number": {"who": WHO, "completion": {**entry("a").completion, "job_id": 1}},
    "a fence that is text": {"who": WHO, "completion": {**entry("a").completion, "fence": "1"}},
    "output that is a list": {"who": WHO, "completion": {**entry("a").completion, "output": []}},
    "files that are numbers": {"who": WHO, "completion": {**entry("a").completion, "artifacts": [1]}},
    "files without a name": {"who": WHO, "completion": {**entry("a").completion, "artifacts": [{"size": 1}]}},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_put_away(tmp_path: Path, content: Any) -> None:
    """A file that would end the agent when it is delivered would end it at each start."""
    spool = Spool(tmp_path)
    spool.keep(entry("good"))
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "spool" / f"{NAME}.7.json").write_bytes(text)
    assert [e.key.job_id for e in spool.load()] == ["good"]
    assert len(files(tmp_path)) == 1


def test_half_written_file_of_a_crash_is_put_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "spool" / f"{NAME}.1.json.new").write_text(json.dumps({"who": WHO, "completion": {}}))
    assert spool.load() == []
    assert files(tmp_path) == []


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """A mounted disk brings lost+found; a pipe would be waited for, a link would lead elsewhere."""
    spool = Spool(tmp_path)
    spool.keep(entry("good"))
    folder = tmp_path / "spool"
    (folder / "lost+found").mkdir()
    (folder / f"{NAME}.1.json").mkdir()
    os.mkfifo(folder / f"{NAME}.2.json")
    (folder / f"{NAME}.3.json").symlink_to("/etc/passwd")
    (folder / f"{NAME}.4.json").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("mine")
    assert [e.key.job_id for e in spool.load()] == ["good"]
    assert len(files(tmp_path)) == 7


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with (tmp_path / "spool" / f"{NAME}.1.json").open("wb") as file:
        file.truncate(1 << 40)
    assert spool.load() == []
    assert files(tmp_path) == []


def test_folder_that_cannot_be_listed_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)

    def refused(self: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert spool.load() == []


def test_another_brokers_results_are_not_shown_to_this_one(tmp_path: Path) -> None:
    Spool(tmp_path, "http://a").keep(entry("secret"))
    assert Spool(tmp_path, "http://b").load() == []
    assert [e.key.job_id for e in Spool(tmp_path, "http://a").load()] == ["secret"]
    old = time.time() - MAX_AGE - 1
    os.utime(files(tmp_path)[0], (old, old))
    assert Spool(tmp_path, "http://b").load() == []
    assert files(tmp_path) == []


def test_odd_job_id_is_no_path(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.keep(entry("\ud800/../x"))
    assert [e.key.job_id for e in spool.load()] == ["\ud800/../x"]


def test_full_disk_leaves_results_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def full(path: Path, data: bytes) -> None:
        tries.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.spool.write_durably", full)
    outbox = Outbox(Spool(tmp_path))
    for job in "abc":
        outbox.add(entry(job))
    for _ in range(10):
        outbox.tidy(0)
    assert len(tries) == 1, "it is not tried again at once, nor for each result"
    outbox.later(outbox.take(0)[0], 0)
    assert len(outbox.take(0)) == 1
    monkeypatch.undo()
    outbox._disk_again = 0
    outbox.tidy(0)
    assert len(files(tmp_path)) == 3


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
    binary = Outbox(Spool(None))
    binary.add(Entry(WHO, {**entry("bytes").completion, "output_base64": "A" * (64 << 20)}))
    assert binary.full


def test_result_that_is_too_old_is_not_kept_for_later(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    taken = outbox.take(0)[0]
    outbox._items[taken.key].added -= MAX_AGE + 1
    assert not outbox.later(taken, 0)
    outbox.done(taken.key)
    outbox.tidy(0)
    assert (len(outbox), files(tmp_path)) == (0, [])


def test_changed_result_is_written_anew(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.add(entry("a"))
    taken = outbox.take(0)[0]
    outbox.tidy(0)
    outbox.later(Entry(WHO, {**taken.completion, "output": "less"}), 0)
    outbox.tidy(0)
    assert [e.completion["output"] for e in Spool(tmp_path).load()] == ["less"]


def test_hanging_disk_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, freed = Spool(tmp_path), threading.Event()
    reached = threading.Event()

    def hang(one: Entry) -> bool:
        reached.set()
        return freed.wait(120)

    monkeypatch.setattr(spool, "keep", hang)
    outbox = Outbox(spool)
    outbox.add(entry("a"))
    keeper = threading.Thread(target=lambda: outbox.tidy(0))
    keeper.start()
    assert reached.wait(60)
    began = time.monotonic()
    outbox.add(entry("b"))
    assert {e.key.job_id for e in outbox.take(0)} == {"a", "b"}
    outbox.done(Key("a", 1))
    outbox.done(Key("b", 1))
    assert outbox.wait_empty(0)
    assert time.monotonic() - began < 60
    freed.set()
    keeper.join(60)


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
    outbox.tidy(0)
    outbox.tidy(0)
    assert files(tmp_path) == []


def test_strangers_do_not_crowd_out_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.spool.MAX_FILES", 3)
    spool = Spool(tmp_path)
    for number in range(5):
        (tmp_path / "spool" / f"{number}.txt").touch()
    assert spool.keep(entry("a"))
    assert [e.key.job_id for e in spool.load()] == ["a"]


def test_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "spool").rmdir()
    assert spool.load() == []
    assert spool.keep(entry("a"))
    assert [e.key.job_id for e in spool.load()] == ["a"]


@pytest.mark.parametrize("odd", ["s\r\nX: y", "sö", "\ud800", "", "s" * 501])
@pytest.mark.parametrize("name", ["node_id", "session"])
def test_file_of_somebody_who_cannot_be_shown_is_put_away(tmp_path: Path, name: str, odd: str) -> None:
    """They go into headers: a call could not be made, and the agent would end at each start."""
    spool = Spool(tmp_path)
    spool.keep(entry("a", who={**WHO, name: odd}))
    assert spool.load() == []
    assert files(tmp_path) == []


def test_file_that_has_another_results_name_is_put_away(tmp_path: Path) -> None:
    """Once delivered, it would be looked for under its own name, and be delivered again after each start."""
    spool = Spool(tmp_path)
    spool.keep(entry("a"))
    files(tmp_path)[0].rename(tmp_path / "spool" / f"{NAME}.1.json")
    assert spool.load() == []
    assert files(tmp_path) == []
