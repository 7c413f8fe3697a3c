"""A real agent between two fakes: a job that is cancelled, lost, or outlives its lease."""

from unit.agent.conftest import StartAgent, TestClock
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun


def test_cancel_by_link_ends_the_run(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.lease = 60
    broker.submit("a", "echo partial\nhang")
    start_agent()
    broker.wait_for(lambda: broker.started and broker.links)
    broker.tell({"type": "cancel", "job_id": "a", "fence": 1})
    result = broker.wait_status("a", "failed")["result"]
    assert (result["failure"], result["output"]) == ("cancelled", "partial\n")
    assert sandrun.cancelled


def test_cancel_by_beat_ends_the_run(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    broker.cancels = [{"job_id": "a", "fence": 1}]
    assert broker.wait_status("a", "failed")["result"]["failure"] == "cancelled"


def test_lost_attempt_is_killed_and_not_reported(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "hang", interpreter="python3")
    start_agent()
    broker.wait_for(lambda: broker.started and broker.links)
    with broker.lock:
        broker.jobs["a"].update(status="completed", holder="somebody else", fence=2)
    broker.tell({"type": "lost", "job_id": "a", "fence": 1})
    sandrun.wait_for(lambda: sandrun.cancelled)
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.completions == []
    assert broker.beats[-1]["held"] == []


def test_silent_broker_ends_the_lease_and_the_runs(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, clock: TestClock
) -> None:
    broker.lease = 3
    broker.submit("a", "hang")
    agent = start_agent()
    broker.wait_for(lambda: broker.started)
    broker.reject_beats = True
    sandrun.wait_for(lambda: sandrun.cancelled)
    assert broker.completions == []
    assert agent.parts.attempts.open() == []


def test_what_a_lost_claim_brought_goes_back_when_the_lease_is_over(
    broker: FakeBroker, start_agent: StartAgent
) -> None:
    """Beats go on renewing the lease at the broker, which cannot know that nobody runs the job."""
    broker.lease = 3
    start_agent()
    broker.wait_for(lambda: broker.links and broker.calls["/claim"])
    broker.mute = True
    broker.submit("a")
    broker.wait_for(lambda: broker.status("a") == "assigned")
    broker.wait_for(lambda: broker.status("a") == "pending")
    broker.mute = False
    broker.wait_status("a", "completed")


def test_zombie_kills_its_runs_when_it_wakes(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, clock: TestClock
) -> None:
    """A suspended node wakes long after its lease: the boot clock has gone on, and the runs go before anything else."""
    broker.lease = 600
    broker.submit("a", "hang")
    agent = start_agent()
    broker.wait_for(lambda: broker.started)
    broker.take_back("a")
    broker.jobs["a"]["status"] = "elsewhere"
    clock.ahead = 10_000
    sandrun.wait_for(lambda: sandrun.cancelled)
    assert agent.parts.attempts.open() == []
    assert broker.completions == []
    # It beats at once, and with a good answer the node works again.
    broker.submit("b")
    broker.wait_status("b", "completed")
