"""What a killed agent left running in sandrun is ended by the next one with the same state folder."""

import json
from pathlib import Path

import pytest

from agent.strays import NOTE_AFTER, Strays
from support.agent_process import AgentProcess
from support.waiting import wait_until
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import EXTENSIONS, FakeSandrun


def left(state: Path, url: str, *runs: object) -> Path:
    """What an agent that was killed has written."""
    state.mkdir()
    path = state / "runs.json"
    path.write_text(json.dumps({"sandrun": url, "runs": runs}))
    return path


def test_killed_agents_programs_are_ended_before_its_successor_registers(
    broker: FakeBroker, sandrun: FakeSandrun, tmp_path: Path
) -> None:
    broker.submit("a", "hang")
    with AgentProcess(tmp_path, broker.url, sandrun.url) as agent:
        broker.wait_for(lambda: broker.started)
        runs = agent.state / "runs.json"
        wait_until(lambda: runs.exists() and json.loads(runs.read_text())["runs"] == ["job_1"], what="the run is noted")
        agent.kill()
        broker.jobs["a"]["code"] = "echo again"
        ended: list[list[str]] = []
        broker.on_register = lambda: ended.append(list(sandrun.cancelled))
        agent.start()
        assert broker.wait_status("a", "completed")["fence"] == 2
        assert ended == [["job_1"]]
        wait_until(lambda: json.loads(runs.read_text())["runs"] == [], what="nothing is noted any more")


def test_sandrun_that_comes_later_than_the_agent_is_waited_for(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    left(tmp_path / "state", sandrun.url, "job_x", "job_1")
    sandrun.refuse["/jobs/job_x"] = [(500, {"error": "not now"})]
    sandrun.jobs["job_1"] = {}
    sandrun.stop()
    agent = start_agent(state_dir=tmp_path / "state")
    assert not agent.parts.strays.none_left.wait(0.1)
    sandrun.start()
    broker.wait_for(lambda: broker.registrations)
    assert sandrun.calls["/jobs/job_x"] == 2
    assert sandrun.cancelled == ["job_1"]


def test_what_cannot_be_ended_keeps_no_node_away(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    left(tmp_path / "state", sandrun.url, "job_1")
    sandrun.refuse["/jobs/job_1"] = [(500, {"error": "never"})] * 9
    start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.registrations)
    assert sandrun.calls["/jobs/job_1"] == 3


@pytest.mark.parametrize("other", ["sandrun", "extensions"])
def test_another_sandrun_and_one_that_cannot_cancel_are_not_asked(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path, other: str
) -> None:
    left(tmp_path / "state", "http://localhost:1" if other == "sandrun" else sandrun.url, "job_1")
    if other == "extensions":
        sandrun.extensions = tuple(name for name in EXTENSIONS if name != "cancel")
    start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.registrations)
    assert not sandrun.calls["/jobs/job_1"]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"sandrun": "u"}', '{"sandrun": "u", "runs": 5}', "[" * 100_000])
def test_file_that_says_nothing_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.json").write_text(text)
    strays = Strays(tmp_path, "u")
    assert strays.none_left.is_set()
    strays.write()
    assert json.loads((tmp_path / "runs.json").read_text()) == {"sandrun": "u", "runs": []}


def test_short_runs_cost_no_write_and_a_disk_that_refuses_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("agent.strays.time.monotonic", lambda: now)
    strays = Strays(tmp_path, "u")
    strays.began("short")
    strays.write()
    strays.ended("short")
    assert list(tmp_path.iterdir()) == []
    strays.began("long")
    now += NOTE_AFTER
    (tmp_path / "runs.json").mkdir()
    strays.write()
    (tmp_path / "runs.json").rmdir()
    strays.began("longer")
    now += NOTE_AFTER
    strays.write()
    assert Strays(tmp_path, "u")._left == ["long", "longer"]
