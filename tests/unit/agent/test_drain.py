"""A real agent between two fakes: it leaves when it is told to, in time, and without losing anything."""

import threading
import time
from pathlib import Path

import pytest

from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.http_fake import PATIENCE


def test_drain_lets_running_jobs_end(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.submit("a", "hang\necho done")
    agent = start_agent(drain_seconds=5)
    broker.wait_for(lambda: broker.started)
    broker.submit("b", "hang")
    broker.submit("c", "hang")
    sandrun.wait_for(lambda: len(sandrun.submissions) == 2)
    began = time.monotonic()
    drain = threading.Thread(target=agent.drain)
    drain.start()
    broker.wait_for(lambda: broker.beats[-1]["draining"])
    with sandrun.changed:
        sandrun.jobs["job_1"]["sleep"] = 0.0
        sandrun.changed.notify_all()
    drain.join(PATIENCE)
    assert not drain.is_alive()
    assert broker.status("a") == "completed"
    assert {release["job_id"] for release in broker.released} == {"b"}
    assert broker.jobs["b"]["attempt"] == 0
    assert broker.status("c") == "pending"
    assert time.monotonic() - began > 4.8, "b had its time"
    assert agent.stopped.is_set()
    assert broker.beats[-1]["held"] == []
    assert broker.beats[-1]["draining"] is True


def test_second_signal_hurries(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    agent = start_agent(drain_seconds=600)
    broker.wait_for(lambda: broker.started)
    drain = threading.Thread(target=agent.drain)
    drain.start()
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["draining"])
    agent.hurry()
    drain.join(PATIENCE)
    assert not drain.is_alive()
    assert [release["job_id"] for release in broker.released] == ["a"]
    assert sandrun.cancelled


def test_drain_while_the_broker_is_away_keeps_results(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.lease = 600
    broker.submit("a", "hang")
    agent = start_agent(state_dir=tmp_path / "state", drain_seconds=60, leave_seconds=3)
    broker.wait_for(lambda: broker.started)
    broker.stop()
    sandrun.let_end()
    agent.drain()
    assert len(list((tmp_path / "state" / "spool").iterdir())) == 1


def test_drain_ends_in_time_whatever_hangs(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk and the last beat: whoever started the agent kills it when its time is over."""
    agent = start_agent(leave_seconds=3)
    broker.wait_for(lambda: broker.links)
    hung, hangs = threading.Semaphore(0), threading.Event()

    def hang(*_: object, **__: object) -> None:
        hung.release()
        hangs.wait(5 * PATIENCE)

    monkeypatch.setattr(agent.parts.outbox, "tidy", hang)
    monkeypatch.setattr(agent, "_last_beat", hang)
    drain = threading.Thread(target=agent.drain)
    drain.start()
    drain.join(PATIENCE)
    ended = not drain.is_alive()
    tried = [hung.acquire(timeout=PATIENCE) for _ in range(2)]
    hangs.set()
    drain.join(PATIENCE)
    assert ended
    assert all(tried), "both were tried"


def test_broker_drains_and_resumes_the_node(broker: FakeBroker, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.links)
    with broker.changed:
        broker.drain = True
        broker.changed.notify_all()
    broker.tell({"type": "drain"})
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    broker.submit("a")
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.status("a") == "pending"
    broker.drain = False
    broker.tell({"type": "resume"})
    broker.wait_status("a", "completed")
