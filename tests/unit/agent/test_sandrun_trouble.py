"""A real agent between two fakes: sandrun is down, hangs, is full or busy, or comes back as another."""

import pytest

from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.http_fake import PATIENCE


@pytest.fixture
def quick_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandrun that hangs is found out by /health long before the call that waits for it."""
    monkeypatch.setattr("agent.sandrun_client.HEALTH_TIMEOUT", 0.3)
    monkeypatch.setattr("agent.sandrun_watch.HEALTH_EVERY", 0.2)
    for module in ("sandrun_client", "runner"):
        monkeypatch.setattr(f"agent.{module}.CALL_TIMEOUT", 5 * PATIENCE)


def test_sandrun_crash_is_nobodys_fault_and_work_goes_on(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.lease = 60
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    broker.jobs["a"]["code"] = "echo second time"
    sandrun.restart()
    job = broker.wait_status("a", "completed")
    assert (job["fence"], job["result"]["output"]) == (2, "second time\n")
    assert "platform" in job


def test_no_claims_while_sandrun_is_down(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    broker.submit("a")
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.status("a") == "pending"
    sandrun.start()
    broker.wait_status("a", "completed")


@pytest.mark.usefixtures("quick_health")
def test_hanging_sandrun_is_noticed(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.lease = 600
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    sandrun.hang()
    broker.wait_for(lambda: broker.completions)
    assert broker.completions[0]["failure"] == "platform"
    broker.wait_status("a", "pending")
    sandrun.go_on()
    broker.wait_status("a", "assigned", "running")


@pytest.mark.usefixtures("quick_health")
def test_sandrun_that_hangs_over_a_submit_is_noticed_in_seconds(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have the job by now, so the attempt counts; but the job does not wait for the call's own patience."""
    broker.lease = 600
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.hang()
    broker.submit("a")
    broker.wait_for(lambda: broker.completions or broker.released)
    assert [said["failure"] for said in broker.completions] == ["platform"]
    monkeypatch.setattr("agent.sandrun_client.HEALTH_TIMEOUT", PATIENCE)
    sandrun.go_on()
    assert broker.wait_status("a", "completed")["attempt"] == 2
    sandrun.wait_for(lambda: sandrun.cancelled == ["job_1"])  # the one that it took while it hung


def test_job_that_finds_sandrun_away_goes_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With files or without: what sandrun never got is no attempt."""
    monkeypatch.setattr("agent.runner.DOWN_SECONDS", 0.1)
    broker.lease = 60
    agent = start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    broker.submit("a")
    broker.wait_for(lambda: broker.released)
    assert broker.completions == []
    sandrun.start()
    assert broker.wait_status("a", "completed")["attempt"] == 1
    assert not agent.crash.happened.is_set()


def test_time_in_sandruns_queue_is_not_the_jobs_time(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two large jobs, memory for one: the second waits inside sandrun, is not announced as started and not ended."""
    monkeypatch.setattr("agent.runner.LIMIT_REPORT", 0.5)
    broker.lease = 60
    sandrun.full = True
    broker.submit("a", "sleep 1.5\necho late", timeout=3.5)
    start_agent()
    sandrun.wait_for(lambda: sandrun.submissions)
    seen = sandrun.calls["/status/job_1"]
    sandrun.wait_for(lambda: sandrun.calls["/status/job_1"] >= seen + 3)
    assert (broker.status("a"), broker.started) == ("assigned", [])
    sandrun.let_start()
    job = broker.wait_status("a", "completed")
    assert (job["attempt"], job["result"]["output"], broker.started) == (1, "late\n", ["a"])


def test_job_that_waits_too_long_in_sandrun_goes_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runner.QUEUED_SECONDS", 0.5)
    monkeypatch.setattr("agent.lifecycle.BUSY_BASE", 0.5)
    broker.lease = 60
    sandrun.full = True
    broker.submit("a")
    start_agent()
    broker.wait_for(lambda: broker.released)
    assert sandrun.cancelled == ["job_1"]
    sandrun.let_start()
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_busy_sandrun_is_asked_again_within_the_lease(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    sandrun.busy = 3
    broker.submit("a")
    start_agent()
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_busy_for_too_long_gives_the_job_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runner.BUSY_SECONDS", 0.5)
    monkeypatch.setattr("agent.lifecycle.BUSY_BASE", 0.5)
    sandrun.busy = 8
    broker.submit("a")
    start_agent()
    job = broker.wait_status("a", "completed")
    assert broker.released
    assert job["attempt"] == 1


def test_refused_job_is_a_platform_failure(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    sandrun.refuse["/submit"] = [(400, {"error": "no interpreter 'cobol'"})]
    broker.submit("a", interpreter="cobol")
    start_agent()
    assert "no interpreter 'cobol'" in broker.wait_status("a", "completed")["platform"]


def test_capability_change_registers_again(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    sandrun.interpreters["ruby"] = "3.3"
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    sandrun.start()
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert "ruby" in broker.registrations[1]["capabilities"]["interpreters"]
    broker.submit("a")
    broker.wait_status("a", "completed")
