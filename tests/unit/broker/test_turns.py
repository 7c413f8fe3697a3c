"""A crowd of nodes' calls begins a few at a time, in order, and others come in between."""

from __future__ import annotations

import asyncio

import pytest

from broker.api.turns import MOST_A_TURN, Turns

pytestmark = pytest.mark.anyio


async def test_others_have_their_turn_within_a_crowd() -> None:
    turns, order = Turns(), []

    async def node(number: int) -> None:
        if not turns.take():
            await turns.wait()
        order.append(f"node {number}")

    async def client() -> None:
        for step in range(3):  # the turns of the loop that a call takes
            await asyncio.sleep(0)
            order.append(f"client {step}")

    nodes = [asyncio.create_task(node(number)) for number in range(10 * MOST_A_TURN)]
    await asyncio.gather(client(), *nodes)
    assert [line for line in order if line.startswith("node")] == [f"node {n}" for n in range(len(nodes))], "in order"
    assert order.index("client 2") < 6 * MOST_A_TURN, order


async def test_a_call_that_was_given_up_while_it_waited_takes_nobodys_turn() -> None:
    turns, done = Turns(), []

    async def node(number: int) -> None:
        if not turns.take():
            await turns.wait()
        done.append(number)

    tasks = [asyncio.create_task(node(number)) for number in range(3 * MOST_A_TURN)]
    await asyncio.sleep(0)
    gone = tasks[MOST_A_TURN : 2 * MOST_A_TURN]
    for task in gone:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [*range(MOST_A_TURN), *range(2 * MOST_A_TURN, 3 * MOST_A_TURN)]
    assert all(task.cancelled() for task in gone)
    assert turns.take(), "and the next one begins at once"


async def test_calls_that_come_one_by_one_never_wait() -> None:
    turns = Turns()
    for _ in range(5 * MOST_A_TURN):
        assert turns.take()
        await asyncio.sleep(0)
