"""Which waiting claim a new job wakes."""

import weakref

import pytest

from broker.domain.barring import barring
from broker.domain.placement import JobClass
from broker.errors import OverloadedError
from broker.service.matching import ClaimQueue, Waiter
from broker.service.sessions import Crowd, NodeSession, SessionBook
from broker.store.records.node import Node

pytestmark = pytest.mark.anyio

PYTHON = JobClass("python3").key()
RUBY = JobClass("ruby").key()
NEAR_EU = JobClass("python3", prefer_region="eu").key()


class Pool:
    """Sessions and the queue that they wait in."""

    def __init__(self) -> None:
        self.book = SessionBook()
        self.queue = ClaimQueue(limit=1000)
        self.waiters: list[Waiter] = []

    def node(
        self, name: str, *, slots: int | None = 4, region: str | None = None, interpreter: str = "python3"
    ) -> NodeSession:
        return self.book.take(
            Node(
                id=name,
                secret_hash="",
                session_hash="",
                session_number=1,
                endpoint="",
                capabilities={"interpreters": [interpreter], "region": region},
                slots=slots,
                name=None,
                version=None,
                draining=False,
                registered_at=0,
                last_heartbeat=0,
                lease_until=1e12,
                jobs_completed=0,
                jobs_failed=0,
            )
        )

    def wait(self, session: NodeSession) -> Waiter:
        waiter = self.queue.begin(session)
        self.waiters.append(waiter)
        return waiter

    def woken(self) -> list[str]:
        return [w.session.node_id for w in self.waiters if w.future.done() and not w.future.cancelled()]


@pytest.fixture
async def pool() -> Pool:
    return Pool()


async def test_one_job_wakes_one_claim(pool: Pool) -> None:
    for number in range(50):
        pool.wait(pool.node(f"n{number}"))
    pool.queue.ready(PYTHON, 1)
    assert len(pool.woken()) == 1
    pool.queue.ready(PYTHON, 3)
    assert len(pool.woken()) == 4


async def test_only_a_node_that_can_run_it(pool: Pool) -> None:
    pool.wait(pool.node("ruby", interpreter="ruby"))
    pool.queue.ready(PYTHON, 5)
    assert pool.woken() == []
    pool.queue.ready(RUBY, 1)
    assert pool.woken() == ["ruby"]


async def test_the_least_loaded_then_the_longest_idle(pool: Pool) -> None:
    busy, recent, idle = pool.node("busy"), pool.node("recent"), pool.node("idle")
    busy.held, recent.last_granted, idle.last_granted = 2, 20.0, 10.0
    for session in (busy, recent, idle):
        pool.wait(session)
    order = []
    for _ in range(3):
        pool.queue.ready(PYTHON, 1)
        order.append(next(name for name in pool.woken() if name not in order))
    assert order == ["idle", "recent", "busy"]


async def test_a_preferred_region_comes_first_and_never_keeps_a_job_waiting(pool: Pool) -> None:
    pool.wait(pool.node("us", region="us"))
    eu = pool.node("eu", region="eu")
    eu.held = 3
    pool.wait(eu)
    pool.queue.ready(NEAR_EU, 1)
    assert pool.woken() == ["eu"]
    pool.queue.ready(NEAR_EU, 1)
    assert sorted(pool.woken()) == ["eu", "us"]


async def test_a_full_node_is_passed_over_until_it_has_room(pool: Pool) -> None:
    full, free = pool.node("full", slots=1), pool.node("free", slots=1)
    full.held = 2
    free.held = 1
    pool.wait(full)
    pool.wait(free)
    pool.queue.ready(PYTHON, 1)
    assert pool.woken() == ["free"]
    full.held = 1
    pool.queue.look_again("full")
    assert sorted(pool.woken()) == ["free", "full"]


async def test_an_old_node_is_never_full(pool: Pool) -> None:
    old = pool.node("old", slots=None)
    old.held = 1000
    pool.wait(old)
    pool.queue.ready(PYTHON, 1)
    assert pool.woken() == ["old"]


async def test_a_wake_up_that_is_not_used_goes_to_the_next(pool: Pool) -> None:
    first = pool.wait(pool.node("first"))
    pool.wait(pool.node("second"))
    pool.queue.ready(PYTHON, 1)
    assert first.woken_for == PYTHON
    pool.queue.end(first)
    pool.queue.offer(PYTHON)
    assert pool.woken() == ["first", "second"]


async def test_a_claim_that_gave_up_is_not_woken(pool: Pool) -> None:
    pool.queue.end(pool.wait(pool.node("gone")))
    pool.wait(pool.node("here"))
    pool.queue.ready(PYTHON, 1)
    assert pool.woken() == ["here"]
    assert len(pool.queue) == 1


async def test_a_newer_claim_ends_the_older(pool: Pool) -> None:
    session = pool.node("n")
    older = pool.wait(session)
    pool.queue.supersede(session)
    assert older.future.done()
    assert older.superseded


async def test_pending_classes_are_known_until_drained(pool: Pool) -> None:
    session = pool.node("n")
    assert pool.queue.runnable(session) == ()
    pool.queue.ready(PYTHON, 2)
    pool.queue.ready(RUBY, 1)
    assert pool.queue.runnable(session) == (PYTHON,)
    pool.queue.drained([PYTHON])
    assert pool.queue.runnable(session) == ()


async def test_preferred_classes_come_first(pool: Pool) -> None:
    pool.queue.ready(PYTHON, 1)
    pool.queue.ready(NEAR_EU, 1)
    assert pool.queue.runnable(pool.node("us", region="us"))[0] == PYTHON
    assert set(pool.queue.runnable(pool.node("eu", region="eu"))) == {PYTHON, NEAR_EU}


async def test_too_many_waiting_claims_are_refused() -> None:
    pool = Pool()
    pool.queue = ClaimQueue(limit=2)
    session = pool.node("n")
    pool.wait(session)
    pool.wait(session)
    with pytest.raises(OverloadedError):
        pool.wait(session)


async def test_equal_nodes_share_their_profile(pool: Pool) -> None:
    assert pool.node("a").group is pool.node("b").group
    assert pool.node("c", region="eu").group is not pool.node("a").group


NOT_A = barring(PYTHON, ["a"])


async def test_a_barred_node_does_not_swallow_the_wake_up(pool: Pool) -> None:
    barred, busy = pool.node("a"), pool.node("b")
    busy.held = 3  # the barred node stands before it in the same line
    pool.wait(barred)
    pool.wait(busy)
    pool.queue.ready(NOT_A, 1)
    assert pool.woken() == ["b"]


async def test_a_wake_up_of_a_barred_node_is_for_others_only(pool: Pool) -> None:
    pool.wait(pool.node("a"))
    pool.queue.ready(NOT_A, 2)
    assert pool.woken() == []
    pool.wait(pool.node("late"))
    pool.queue.offer(NOT_A)
    assert pool.woken() == ["late"]


async def test_a_barred_class_is_runnable_by_the_others(pool: Pool) -> None:
    a, b = pool.node("a"), pool.node("b")
    pool.queue.ready(NOT_A, 1)
    pool.queue.ready(PYTHON, 1)
    assert (pool.queue.runnable(a), set(pool.queue.runnable(b))) == ((PYTHON,), {PYTHON, NOT_A})
    again = pool.node("a")  # its next session
    assert pool.queue.runnable(again) == (PYTHON,)
    pool.queue.drained([NOT_A])
    assert pool.queue.runnable(b) == (PYTHON,)
    pool.queue.ready(barring(PYTHON, ["b"]), 1)
    assert pool.queue.runnable(b) == (PYTHON,)
    assert len(pool.queue.runnable(a)) == 2
    pool.queue.drained([barring(PYTHON, ["b"])])
    assert not pool.queue._barred, "what is known of classes goes with them"


async def test_a_crowd_can_run_what_one_of_it_can(pool: Pool) -> None:
    crowd = Crowd([pool.node("a"), pool.node("b"), pool.node("r", interpreter="ruby")])
    assert crowd.can_run(NOT_A)
    assert crowd.can_run(RUBY)
    assert not crowd.can_run(barring(PYTHON, ["a", "b"]))
    assert not crowd.can_run(barring(RUBY, ["r", "gone"]))
    assert not crowd.can_run(JobClass("perl").key())


async def test_jobs_that_come_while_nobody_waits_are_owed_one_claim_each(pool: Pool) -> None:
    pool.queue.ready(PYTHON, 2)
    for number in range(50):
        pool.wait(pool.node(f"n{number}"))
    assert pool.woken() == ["n0", "n1"]


async def test_what_is_owed_goes_to_who_can_run_it_and_has_room(pool: Pool) -> None:
    pool.queue.ready(PYTHON, 1)
    pool.wait(pool.node("ruby", interpreter="ruby"))
    full = pool.node("full", slots=1)
    full.held = full.capacity or 0
    pool.wait(full)
    pool.waiters.append(pool.queue.begin(pool.node("says-full"), full=True))
    assert pool.woken() == []
    pool.wait(pool.node("free"))
    assert pool.woken() == ["free"]


async def test_nothing_is_owed_of_a_class_that_was_drained(pool: Pool) -> None:
    pool.queue.ready(PYTHON, 3)
    pool.queue.drained([PYTHON])
    pool.wait(pool.node("n"))
    assert pool.woken() == []


async def test_a_wake_up_that_nobody_can_use_is_owed(pool: Pool) -> None:
    waiter = pool.wait(pool.node("gone"))
    pool.queue.ready(PYTHON, 1)
    pool.queue.end(waiter)
    pool.queue.offer(PYTHON)
    pool.wait(pool.node("next"))
    assert pool.woken() == ["gone", "next"]


async def test_claims_that_ended_are_not_kept_behind_better_ones_that_wait(pool: Pool) -> None:
    """In a pool without work the nodes that never got a job wait at the head, and everybody's claims come and go."""
    for name in ("never-1", "never-2"):
        pool.wait(pool.node(name))
    other = pool.node("other")
    other.last_granted = 10.0
    ended = []
    for _ in range(2000):
        waiter = pool.queue.begin(other)
        ended.append(weakref.ref(waiter.future))
        pool.queue.end(waiter)
        del waiter
    assert sum(ref() is not None for ref in ended) < 100
    assert pool.woken() == []
    pool.wait(other)
    pool.queue.ready(PYTHON, 3)
    assert sorted(pool.woken()) == ["never-1", "never-2", "other"]
