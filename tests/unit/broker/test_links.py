"""When a broken link means a dead node, and when it means a bad network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.service.links import FLAP_MEMORY_SECONDS, IN_FLIGHT_SECONDS, Graces, Link, Links
from broker.service.sessions import NodeSession, SessionBook
from broker.store.records.node import Node
from support.clock import FakeClock

pytestmark = pytest.mark.anyio
SINGLE, TROUBLE = 0.12, 0.6
NEVER = 600.0
"""A grace for trouble that no test waits for: who is lost at all was given the short one."""
DEADLINE = 60.0


class Pool:
    """Linked nodes; `lost` are those that were given up, with the seconds after `began` at which they were."""

    def __init__(self, nodes: int, trouble: float) -> None:
        self.clock = FakeClock(1000.0)
        self.book = SessionBook()
        self.links = Links(self.book, self.clock, Graces(SINGLE, trouble), self._lose)
        self.sessions = [self.book.take(_node(number)) for number in range(nodes)]
        self.open = [self.links.open(session) for session in self.sessions]
        self.lost: dict[str, float] = {}
        self.began = asyncio.get_running_loop().time()
        self._changed = asyncio.Condition()

    async def _lose(self, session: NodeSession) -> None:
        async with self._changed:
            self.lost[session.node_id] = asyncio.get_running_loop().time() - self.began
            self._changed.notify_all()

    def break_link(self, number: int) -> None:
        self.links.broken(self.open[number])

    def come_back(self, number: int) -> Link:
        self.open[number] = self.links.open(self.sessions[number])
        return self.open[number]

    async def wait_lost(self, count: int) -> dict[str, float]:
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(lambda: len(self.lost) >= count)
        return self.lost


def _node(number: int) -> Node:
    return Node(
        id=f"n{number}",
        secret_hash="",
        session_hash="",
        session_number=1,
        endpoint="http://localhost:8443",
        capabilities={"interpreters": ["python3"]},
        slots=1,
        name=None,
        version=None,
        draining=False,
        registered_at=0.0,
        last_heartbeat=0.0,
        lease_until=2000.0,
        jobs_completed=0,
        jobs_failed=0,
    )


@asynccontextmanager
async def pool_of(nodes: int, trouble: float = TROUBLE) -> AsyncIterator[Pool]:
    pool = Pool(nodes, trouble)
    try:
        yield pool
    finally:
        pool.links.stop()


async def test_one_node_among_others_is_lost_after_the_short_grace() -> None:
    async with pool_of(2, NEVER) as pool:
        pool.break_link(0)
        lost = await pool.wait_lost(1)
        assert lost.keys() == {"n0"}
        assert lost["n0"] >= SINGLE


async def test_two_of_four_at_once_are_two_dead_nodes() -> None:
    async with pool_of(4, NEVER) as pool:
        pool.break_link(0)
        pool.break_link(1)
        await pool.wait_lost(2)


@pytest.mark.parametrize("nodes", [1, 2, 3, 8])
async def test_all_at_once_are_a_network(nodes: int) -> None:
    async with pool_of(nodes) as pool:
        for number in range(nodes):
            pool.break_link(number)
        lost = await pool.wait_lost(nodes)
        assert all(after >= TROUBLE for after in lost.values())


async def test_most_at_once_are_a_network_also_when_the_others_come_back() -> None:
    async with pool_of(5) as pool:
        for number in range(4):
            pool.break_link(number)
        for number in range(1, 4):
            pool.come_back(number)
        lost = await pool.wait_lost(1)
        assert lost.keys() == {"n0"}
        assert lost["n0"] >= TROUBLE


async def test_the_last_node_is_given_up_as_soon_as_another_can_take_over() -> None:
    async with pool_of(1, NEVER) as pool:
        pool.break_link(0)
        pool.links.open(pool.book.take(_node(7)))
        assert (await pool.wait_lost(1)).keys() == {"n0"}


async def test_a_link_that_came_back_before_is_given_more_time_for_a_while() -> None:
    async with pool_of(3) as pool:
        pool.break_link(0)
        pool.come_back(0)
        pool.break_link(0)
        pool.break_link(1)
        lost = await pool.wait_lost(2)
        assert list(lost) == ["n1", "n0"], "the one that broke last went first"
        assert lost["n0"] >= TROUBLE


async def test_an_old_return_is_forgotten() -> None:
    async with pool_of(2, NEVER) as pool:
        pool.break_link(0)
        pool.come_back(0)
        pool.clock.advance(FLAP_MEMORY_SECONDS + 1)
        pool.break_link(0)
        assert (await pool.wait_lost(1)).keys() == {"n0"}


async def test_a_beat_after_the_break_proves_life_and_one_that_was_on_its_way_does_not() -> None:
    async with pool_of(3) as pool:
        pool.break_link(0)
        pool.break_link(1)
        pool.clock.advance(IN_FLIGHT_SECONDS / 2)
        pool.sessions[0].sign_of_life(pool.clock.now(), 60)
        pool.clock.advance(IN_FLIGHT_SECONDS)
        pool.sessions[1].sign_of_life(pool.clock.now(), 60)
        assert (await pool.wait_lost(1)).keys() == {"n0"}
        pool.break_link(2)
        await pool.wait_lost(2)
        assert pool.lost.keys() == {"n0", "n2"}, "a whole grace later"


async def test_time_for_which_the_broker_stood_still_is_given_back() -> None:
    async with pool_of(2) as pool:
        loop = asyncio.get_running_loop()
        stood_still = asyncio.Event()

        def stand_still() -> None:
            until = loop.time() + 2 * SINGLE
            while loop.time() < until:
                pass  # a loop that is held up by something does not turn
            stood_still.set()

        pool.break_link(0)
        loop.call_later(SINGLE / 2, stand_still)
        await stood_still.wait()
        held_up_until = loop.time() - pool.began
        assert (await pool.wait_lost(1))["n0"] >= held_up_until + SINGLE / 2


async def test_a_stopping_broker_takes_nobody_for_lost() -> None:
    async with pool_of(2) as pool:
        pool.break_link(0)
        pool.links.stop()
        pool.break_link(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * SINGLE), pool._changed:
                await pool._changed.wait_for(lambda: pool.lost)
