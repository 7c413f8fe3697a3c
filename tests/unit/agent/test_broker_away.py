"""A real agent between two fakes: answers get lost, the broker goes away, forgets the node, and comes back."""

from pathlib import Path

import pytest

from agent.backoff import Backoff
from support.waiting import wait_until
from unit.agent.conftest import StartAgent, kill
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.http_fake import PATIENCE


def test_lost_claim_answer_is_asked_for_again(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lose["/claim"] = 1
    broker.submit("a")
    start_agent()
    job = broker.wait_status("a", "completed")
    assert (job["attempt"], job["fence"]) == (1, 1)


def test_lost_complete_answer_is_delivered_once_more(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lose["/complete"] = 2
    broker.submit("a")
    agent = start_agent()
    broker.wait_status("a", "completed")
    assert agent.parts.outbox.wait_empty(PATIENCE)
    assert len(broker.completions) == 3
    assert agent.parts.attempts.held()[1] == []


def test_results_wait_while_the_broker_is_away(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.lease = 600
    broker.submit("a", "hang\necho done")
    agent = start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.started)
    broker.stop()
    sandrun.let_end()
    wait_until(lambda: list((tmp_path / "state" / "spool").iterdir()), what="the result is on disk")
    broker.start()
    assert broker.wait_status("a", "completed")["result"]["output"] == "done\n"
    assert agent.parts.outbox.wait_empty(PATIENCE)
    wait_until(lambda: not list((tmp_path / "state" / "spool").iterdir()), what="nothing is left on the disk")


def test_killed_agents_result_is_delivered_by_its_successor(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    broker.lease = 600
    broker.submit("a", "hang\necho first run")
    first = start_agent(state_dir=state)
    broker.wait_for(lambda: broker.started)
    broker.stop()
    sandrun.let_end()
    wait_until(lambda: list((state / "spool").iterdir()), what="the result is on disk")
    kill(first)
    first.parts.outbox.tidy(0)
    first.folder.close()
    broker.start()
    start_agent(state_dir=state)
    job = broker.wait_status("a", "completed")
    assert (job["result"]["output"], job["fence"]) == ("first run\n", 1)
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert broker.registrations[1]["node_id"] == "node-1"


def test_broker_that_forgot_the_node_gets_a_new_registration(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    broker.stop()
    broker.nodes.clear()
    broker.jobs.clear()
    broker.start()
    broker.submit("b")
    broker.wait_status("b", "completed")
    assert len(broker.registrations) == 2


def test_ended_session_kills_runs_and_registers_again(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    with broker.changed:
        broker.nodes["node-1"]["session"] = "taken over"
        broker.jobs["a"].update(status="completed", holder=None)
        broker.changed.notify_all()
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert broker.registrations[1]["secret"] == "secret-node-1"
    sandrun.wait_for(lambda: sandrun.cancelled)
    broker.submit("b")
    broker.wait_status("b", "completed")


def test_broken_link_is_opened_again_with_a_beat(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lease = 600
    start_agent()
    broker.wait_for(lambda: broker.links)
    count = len(broker.beats)
    broker.break_links()
    broker.wait_for(lambda: broker.links)
    broker.wait_for(lambda: len(broker.beats) > count)


def test_beat_proves_life_while_the_link_does_not_come_back(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lease = 600
    start_agent()
    broker.wait_for(lambda: broker.links)
    count = len(broker.beats)
    broker.refuse["/link"] = [(503, {"error": "x", "reason": "overloaded"})] * 100
    broker.break_links()
    broker.wait_for(lambda: len(broker.beats) > count)


def test_returned_broker_is_not_kept_waiting(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims and results that had been put off for long are sent as soon as the link is open again."""
    for part in ("claimer", "delivery"):
        monkeypatch.setattr(f"agent.{part}.Backoff", lambda base, cap: Backoff(20 * PATIENCE, 20 * PATIENCE))
    away = (503, {"error": "x", "reason": "stopping"})
    broker.lease = 60
    broker.submit("a")
    broker.refuse["/complete"] = [away]
    start_agent()
    broker.wait_for(lambda: broker.calls["/complete"] and broker.links)
    broker.refuse["/claim"] = [away]
    broker.submit("b")  # ends the claim that hangs; the next one is refused
    broker.wait_for(lambda: not broker.refuse["/claim"])
    broker.submit("c")
    broker.break_links()
    assert broker.wait_status("a", "completed")["attempt"] == 1
    assert broker.wait_status("c", "completed")["attempt"] == 1


def test_a_new_node_keeps_its_key_until_it_is_answered(broker: FakeBroker, start_agent: StartAgent) -> None:
    lost = broker.lose["/register"] = 3
    start_agent()
    broker.wait_for(lambda: len(broker.registrations) > lost and broker.beats)
    first, *others = (said["idempotency_key"] for said in broker.registrations)
    assert others == [first] * lost
    assert len(first) >= 32
    with broker.changed:
        broker.nodes.clear()  # its database is gone: the agent becomes a new node, by a new key
    broker.wait_for(lambda: len(broker.registrations) > lost + 1)
    assert broker.registrations[-1]["idempotency_key"] != first
