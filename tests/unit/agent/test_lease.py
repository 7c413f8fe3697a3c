"""The lease: from before the beat was sent, on a clock that counts suspend."""

import pytest

from agent.attempts import Attempts, Stop
from agent.broker_client import SessionTerms
from agent.lease import Lease, Session
from agent.model import Job, Key


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


def test_lease_counts_from_the_sending() -> None:
    clock = Hand()
    lease = Lease(clock, 60, sent_at=1000)
    clock.time = 1050
    lease.renew(60, sent_at=1030)
    assert lease.remaining == 39
    clock.time = 1089
    assert lease.over


def test_late_answer_never_shortens_it() -> None:
    lease = Lease(Hand(), 60, sent_at=1000)
    lease.renew(60, sent_at=900)
    assert lease.remaining == 59


def test_short_lease_has_a_small_margin() -> None:
    assert Lease(Hand(), 2, sent_at=1000).remaining == pytest.approx(1.9)


def session(name: str = "s") -> Session:
    return Session(SessionTerms("n", name, None, 60, 20, 1000), Hand())


def jobs(*names: str) -> list[Job]:
    return [Job(Key(name, 1), "", "sh") for name in names]


def test_claims_done_never_runs_ahead_of_the_list() -> None:
    attempts, now = Attempts(), session()
    attempts.open_session(now)
    assert attempts.held() == (0, [])
    attempts.grant(now, 1, jobs("a", "b"))
    assert attempts.held() == (1, [("a", 1), ("b", 1)])
    attempts.give_up_claim(now, 2)
    assert attempts.held()[0] == 2


def test_answer_of_an_ended_session_grants_nothing() -> None:
    attempts, old, new = Attempts(), session("old"), session("new")
    attempts.open_session(old)
    held = attempts.grant(old, 1, jobs("a"))
    attempts.open_session(new)
    assert held[0].settled
    assert attempts.grant(old, 2, jobs("b")) == []
    assert attempts.held() == (0, [])


def test_same_answer_twice_grants_once() -> None:
    attempts, now = Attempts(), session()
    attempts.open_session(now)
    assert len(attempts.grant(now, 1, jobs("a"))) == 1
    assert attempts.grant(now, 1, jobs("a")) == []


def test_attempt_is_settled_once_and_held_until_forgotten() -> None:
    attempts, now = Attempts(), session()
    attempts.open_session(now)
    attempt = attempts.grant(now, 1, jobs("a"))[0]
    assert attempts.settle(attempt)
    assert not attempts.settle(attempt)
    assert attempts.open() == []
    assert attempts.held()[1] == [("a", 1)]
    attempts.forget(Key("a", 1))
    assert attempts.held()[1] == []


def test_lost_outweighs_other_wishes() -> None:
    attempts, now = Attempts(), session()
    attempts.open_session(now)
    attempt = attempts.grant(now, 1, jobs("a"))[0]
    assert attempt.request_stop(Stop.CANCEL)
    assert attempt.request_stop(Stop.LOST), "its kill must not wait behind the cancellation's"
    assert not attempt.request_stop(Stop.LOST)
    assert not attempt.request_stop(Stop.RELEASE)
    assert attempt.stop is Stop.LOST
    assert attempt.launched("job_1") is False


def test_attempt_named_twice_in_one_answer_is_one_attempt() -> None:
    """Of two runs for one key only the last would be in the list: nothing could end the other with the lease."""
    attempts, now = Attempts(), session()
    attempts.open_session(now)
    granted = attempts.grant(now, 1, [*jobs("a"), *jobs("a")])
    assert granted == attempts.open()
    assert len(granted) == 1
