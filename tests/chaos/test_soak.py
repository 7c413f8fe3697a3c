"""Everything at once: a working fleet and its clients while the broker is killed, paused and starved at random.

CHAOS_SOAK_SECONDS (8) makes it longer by hand, CHAOS_SOAK_SEED repeats a run's choices.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from chaos.load import Load
from chaos.rig import Scenario

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(0)]
Make = Callable[..., Scenario]
SECONDS = float(os.environ.get("CHAOS_SOAK_SECONDS", "8"))
SEED = int(os.environ.get("CHAOS_SOAK_SEED", "0")) or random.randrange(1, 1_000_000)


async def _kill_at_a_point(s: Scenario, chance: random.Random) -> None:
    point = chance.choice(["begin", "statement", "before_commit", "after_commit"])
    await s.broker.arm(point, count=chance.randrange(1, 200))
    await s.broker.wait_ended(120)
    await s.restart()


async def _kill(s: Scenario, chance: random.Random) -> None:
    del chance
    await s.restart()


async def _stop(s: Scenario, chance: random.Random) -> None:
    del chance
    assert await s.broker.terminate() == 0
    await s.broker.start()


async def _pause(s: Scenario, chance: random.Random) -> None:
    s.broker.signal(signal.SIGSTOP)
    await asyncio.sleep(chance.random() * 2)  # the pause
    s.broker.signal(signal.SIGCONT)


async def _stall_the_disk(s: Scenario, chance: random.Random) -> None:
    await s.broker.arm("before_commit", "hold")
    await s.broker.wait_held()
    await asyncio.sleep(chance.random() * 2)  # the stall
    await s.broker.release()


async def _fill_the_disk(s: Scenario, chance: random.Random) -> None:
    await s.broker.cap_pages(chance.randrange(1, 20))
    await asyncio.sleep(chance.random() * 2)  # until somebody frees space
    await s.broker.cap_pages(0)


async def _move_the_clock(s: Scenario, chance: random.Random) -> None:
    await s.broker.shift_clock(chance.choice([-3600, -5, 5, 3600]))


FAULTS = [_kill_at_a_point, _kill, _stop, _pause, _stall_the_disk, _fill_the_disk, _move_the_clock]


async def test_nothing_is_lost_whatever_happens(scenario: Make) -> None:
    print(f"CHAOS_SOAK_SEED={SEED}")
    chance = random.Random(SEED)
    async with scenario(NODE_TIMEOUT="2", MAX_RETRIES="100") as s, Load(s, clients=24, links=True) as load:
        loop = asyncio.get_running_loop()
        until = loop.time() + SECONDS
        while loop.time() < until:
            await asyncio.sleep(chance.random() * 0.5)  # some quiet between two faults
            fault = chance.choice(FAULTS)
            s.history.mark(fault.__name__)
            await fault(s, chance)
        await s.broker.cap_pages(0)
        await load.finish(seconds=240)
        rows = s.audit()
        assert len(rows.jobs) >= len(load.jobs)
