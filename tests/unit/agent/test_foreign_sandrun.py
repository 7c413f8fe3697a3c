"""Next to a sandrun that is not ours: nothing it does is blamed on a job, nothing it cannot do is asked of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.settings import Settings
from support.foreign_quota import Habits
from support.foreign_sandrun import ForeignSandrun
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[ForeignSandrun]:
    server = ForeignSandrun(tmp_path / "foreign", Habits(pause=0.1))
    yield server
    server.stop()


@pytest.fixture
def settings(broker: FakeBroker, settings: Settings, foreign: ForeignSandrun) -> Settings:
    return replace(settings, sandrun_url=foreign.url, interpreters=("python3", "bash"))


def gated(tmp_path: Path, rest: str = "") -> str:
    """A program that runs until the file `gate` is there."""
    return f"while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done\n{rest}"


def test_jobs_run_one_at_a_time_and_exit_codes_pass(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent
) -> None:
    for number in range(3):
        broker.submit(f"j{number}", f"echo out {number}\nexit {number}", interpreter="bash")
    start_agent()
    for number in range(3):
        result = broker.wait_status(f"j{number}", "completed", "failed")["result"]
        assert (result["output"], result["exit_code"]) == (f"out {number}\n", number)
        assert result["failure"] == ("exit" if number else None)
    assert broker.registrations[0]["slots"] == 1
    assert [manifest["entrypoint"] for manifest in foreign.manifests] == ["run.sh"] * 3


def test_nothing_that_it_does_not_list_is_asked_of_it(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "echo hi", interpreter="bash")
    start_agent()
    broker.wait_status("a", "completed")
    assert not any("?" in line or " DELETE " in line for line in foreign.requests)


def test_status_that_blocks_for_the_whole_job_is_waited_for(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predecessor fails every job that is longer than its read timeout."""
    monkeypatch.setattr("agent.sandrun_client.CALL_TIMEOUT", 0.5)
    monkeypatch.setattr("agent.runner.CALL_TIMEOUT", 0.5)
    broker.submit("a", "sleep 2\necho long", interpreter="bash")
    start_agent()
    assert broker.wait_status("a", "completed")["result"]["output"] == "long\n"


def test_agent_gives_up_on_time_itself_and_keeps_the_slot(
    broker: FakeBroker,
    foreign: ForeignSandrun,
    start_agent: StartAgent,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("agent.runner.FOREIGN_START", 0.3)
    broker.lease = 600
    broker.submit("a", gated(tmp_path), interpreter="bash", timeout=1)
    start_agent()
    result = broker.wait_status("a", "failed")["result"]
    assert result["failure"] == "timeout"
    assert result["limit"] == {"name": "timeout", "value": 1, "peak": None}
    (tmp_path / "gate").touch()
    broker.submit("b", "echo after", interpreter="bash")
    assert broker.wait_status("b", "completed")["attempt"] == 1
    assert len(foreign.manifests) == 2


def test_cancel_is_reported_at_once_though_nothing_can_be_killed(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.lease = 600
    broker.submit("a", gated(tmp_path), interpreter="bash", timeout=250)
    start_agent()
    broker.wait_for(lambda: broker.started and broker.links)
    broker.tell({"type": "cancel", "job_id": "a", "fence": 1})
    assert broker.wait_status("a", "failed")["result"]["failure"] == "cancelled"
    (tmp_path / "gate").touch()


def test_used_up_quota_means_no_claims(broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent) -> None:
    foreign.habits.per_hour = 1
    broker.submit("a", interpreter="bash")
    start_agent()
    broker.wait_status("a", "completed")
    broker.submit("b", interpreter="bash")
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert (broker.status("b"), broker.jobs["b"]["fence"]) == ("pending", 0)
    foreign.habits.per_hour = 20
    broker.wait_status("b", "completed")


def test_sudden_429_is_waited_out(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own statistics said yes, another client was quicker."""
    foreign.habits.max_active = 0
    monkeypatch.setattr("agent.sandrun_client.SandrunClient.may_submit", lambda self: True)
    broker.submit("a", interpreter="bash")
    start_agent()
    broker.wait_status("a", "assigned")
    foreign.habits.max_active = 2
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_vanished_job_is_a_platform_failure(
    broker: FakeBroker, foreign: ForeignSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.submit("a", gated(tmp_path, "echo hi"), interpreter="bash")
    start_agent()
    broker.wait_for(lambda: len(foreign.manifests) == 1 or broker.completions)
    foreign.forget()
    (tmp_path / "gate").touch()
    job = broker.wait_status("a", "completed")
    assert "does not know the job" in job["platform"]
    assert job["attempt"] == 2


@pytest.mark.parametrize(
    ("more", "said"), [({"stdin": "text"}, "standard input"), ({"env": {"A": "b"}}, "environment variables")]
)
def test_what_it_would_leave_out_is_refused(
    broker: FakeBroker, start_agent: StartAgent, more: dict[str, Any], said: str
) -> None:
    broker.submit("a", interpreter="bash", **more)
    start_agent()
    broker.wait_for(lambda: "platform" in broker.jobs["a"])
    assert said in broker.jobs["a"]["platform"]
    broker.jobs["a"].update(stdin="", env={})
    broker.wait_status("a", "completed")
