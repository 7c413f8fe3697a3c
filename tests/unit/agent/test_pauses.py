"""Beats and claims that are under way while the lease ends: each order of sending, pause, fencing and answer."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from agent.attempts import Attempts
from agent.broker_client import BrokerClient, Claimed, SessionTerms
from agent.claimer import Claimer
from agent.heartbeat import Heartbeat
from agent.lease import Session
from agent.live_output import LiveOutput
from agent.metrics import Metrics
from agent.orders import Orders
from agent.slots import Slots
from unit.agent.conftest import StartAgent, TestClock
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.test_lease import Hand

LEASE = 60.0
MARGIN = 1.0  # of a lease that long
SENT = 1050.0  # by the hand's clock, with the lease until 1059
JOB = {"id": "a", "fence": 1, "code": "", "interpreter": "sh"}


class Node:
    """One session's heartbeat and claimer; `while_it_waits` happens between a call's sending and its answer."""

    def __init__(self) -> None:
        self.clock = Hand()
        self.session = Session(SessionTerms("n", "s", None, LEASE, LEASE / 3, sent_at=1000), self.clock)
        self.attempts = Attempts()
        self.attempts.open_session(self.session)
        self.while_it_waits: Callable[[], object] = lambda: None
        self.lease_seconds = LEASE
        self.poked = 0
        broker = cast(BrokerClient, self)
        self.beat_maker = Heartbeat(
            self.session,
            broker=broker,
            clock=self.clock,
            attempts=self.attempts,
            orders=cast(Orders, self),
            live=cast(LiveOutput, self),
            condition=dict,
            retry_cap=1,
        )
        self.claimer = Claimer(
            self.session,
            broker=broker,
            attempts=self.attempts,
            slots=cast(Slots, self),
            ready=lambda: True,
            permitted=lambda: True,
            start=lambda attempt: None,
            on_drain=lambda: None,
            on_given_up=self._poke,
            retry_cap=1,
            metrics=Metrics(),
        )

    def _poke(self) -> None:
        self.poked += 1

    def heartbeat(self, body: dict[str, Any], read_timeout: float) -> dict[str, Any]:
        self.while_it_waits()
        return {"status": "ok", "lease_seconds": self.lease_seconds}

    def claim(self, *_: object) -> Claimed:
        self.while_it_waits()
        return Claimed([JOB], drain=False)

    def drain(self, wanted: bool) -> None:
        assert not wanted

    def obey(self, follow: object) -> None:
        assert follow is None

    def moves_to(self, moment: float) -> None:
        self.clock.time = moment


@pytest.fixture
def node() -> Node:
    node = Node()
    node.clock.time = SENT
    return node


def test_beat_sent_before_a_pause_and_answered_after_it_renews_from_its_sending(node: Node) -> None:
    node.while_it_waits = lambda: node.moves_to(SENT + 40)
    node.beat_maker.beat()
    assert node.session.lease.remaining == LEASE - MARGIN - 40


def test_beat_answered_after_a_pause_longer_than_the_lease_renews_nothing(node: Node) -> None:
    node.while_it_waits = lambda: node.moves_to(SENT + LEASE)
    node.beat_maker.beat()
    assert node.session.lease.over
    node.while_it_waits = lambda: None
    node.beat_maker.beat()
    assert node.session.lease.remaining == LEASE - MARGIN


def test_answer_that_comes_after_the_fencing_lets_the_node_work_again_and_is_remembered_as_a_lapse(node: Node) -> None:
    node.while_it_waits = lambda: node.moves_to(1059)  # the lease of the beat before is over, and the guard has seen it
    assert node.session.lease.lapses == 0
    node.beat_maker.beat()
    assert node.session.lease.remaining == SENT + LEASE - MARGIN - 1059
    assert node.session.lease.lapses == 1
    node.beat_maker.beat()
    assert node.session.lease.lapses == 1


def test_answers_that_overtake_each_other_leave_the_newest_beats_lease(node: Node) -> None:
    """The last beat of a node that drains is sent by a thread of its own."""

    def newer() -> None:
        node.while_it_waits = lambda: None
        node.moves_to(SENT + 5)
        node.lease_seconds = 10
        node.beat_maker.beat()
        node.lease_seconds = LEASE

    node.while_it_waits = newer
    node.beat_maker.beat()
    assert node.session.lease.remaining == 9.5


def test_broker_that_came_back_with_a_shorter_lease_is_believed_at_once(node: Node) -> None:
    """It hands the jobs on when its own lease is over, whatever was agreed before."""
    node.lease_seconds = 6
    node.beat_maker.beat()
    assert node.session.lease.remaining == pytest.approx(5.7)
    assert node.session.heartbeat_seconds == 2
    node.lease_seconds = LEASE
    node.beat_maker.beat()
    assert (node.session.lease.remaining, node.session.heartbeat_seconds) == (LEASE - MARGIN, LEASE / 3)


def claims(node: Node, *, again: bool = False) -> bool:
    node.claimer._number, node.claimer._in_doubt = 1, again
    return node.claimer._claim(1)


def beats(node: Node) -> None:
    """As in the moment in which a paused process goes on: the claim's answer is still unread."""
    node.while_it_waits = lambda: None
    node.beat_maker.beat()


def test_claim_answered_within_the_lease_is_held(node: Node) -> None:
    def wait() -> None:
        node.moves_to(SENT + 5)
        beats(node)

    node.while_it_waits = wait
    assert claims(node)
    assert node.attempts.held() == (1, [("a", 1)])


@pytest.mark.parametrize("renewed", [False, True])
def test_claim_answered_after_a_pause_longer_than_the_lease_is_left_to_others(node: Node, renewed: bool) -> None:
    """Even if a beat has renewed the lease meanwhile: it did not list the attempt, so the broker said nothing of it."""

    def pause() -> None:
        node.moves_to(SENT + 1000)
        if renewed:
            beats(node)

    node.while_it_waits = pause
    assert not claims(node)
    assert node.session.lease.over is not renewed
    assert node.attempts.held() == (1, []), "the next beat gives back what the claim brought"
    assert node.poked == 1


def test_claim_that_is_sent_again_counts_from_its_first_sending(node: Node) -> None:
    """What the lost answer had brought comes again, and may have been taken back in between."""

    def lost() -> None:
        raise ConnectionError

    node.while_it_waits = lost
    with pytest.raises(ConnectionError):
        claims(node)
    node.moves_to(SENT + 1000)
    beats(node)
    assert not claims(node, again=True)
    assert node.attempts.held() == (1, [])
    assert claims(node), "a new one is held"


def test_runs_killed_by_the_fencing_stay_dead_when_the_beats_answer_comes_at_last(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, clock: TestClock
) -> None:
    """The broker renewed the lease of a run that was killed here: the next beat tells it, and the job runs anew."""
    broker.lease = 600
    broker.submit("a", "hang")
    agent = start_agent()
    broker.wait_for(lambda: broker.started and broker.beats)
    clock.ahead = 500
    broker.hold_beats = True
    count = len(broker.beats)
    assert agent._serving is not None
    agent._serving.heartbeat.poke()
    broker.wait_for(lambda: len(broker.beats) > count)
    clock.ahead = 800
    sandrun.wait_for(lambda: sandrun.cancelled == ["job_1"])
    assert broker.status("a") == "running", "the broker knows nothing of it"
    with broker.changed:
        broker.jobs["a"]["code"] = "echo anew"
        broker.hold_beats = False
        broker.changed.notify_all()
    job = broker.wait_status("a", "completed")
    assert (job["fence"], job["result"]["output"]) == (2, "anew\n")
    assert [said["fence"] for said in broker.completions] == [2]
