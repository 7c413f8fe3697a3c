"""A pool that runs jobs in simulated time on a real broker: real ranks, real claims, and a clock that jumps.

Jobs take the time that `draw` gives them. Nothing waits: the next event is the next end of a job.
"""

import heapq
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.domain.words import JobStatus
from broker.service.broker import Broker
from broker.service.forecast import MOST_COUNTED
from broker.service.waiting import Waiting
from broker.settings import load_settings
from broker.wire.jobs import SubmitJob
from broker.wire.nodes import Claim, Complete, Register, Start
from support.clock import FakeClock
from support.stores import STORES


@dataclass
class SimNode:
    """A node with free slots."""

    node_id: str
    session: str
    free: int
    claims: int = 0


@dataclass(order=True)
class Running:
    """A job that ends at a time."""

    ends_at: float
    job_id: str = field(compare=False)
    fence: int = field(compare=False)
    node: SimNode = field(compare=False)


@dataclass(frozen=True)
class Foretold:
    """What was said of a pending job, and when."""

    at: float
    waiting: Waiting


class Simulation:
    """`starts`: job -> when it started, in the order of starting."""

    def __init__(self, broker: Broker, clock: FakeClock, seed: int) -> None:
        self.broker = broker
        self.clock = clock
        self.random = random.Random(seed)
        self.nodes: list[SimNode] = []
        self.running: list[Running] = []
        self.seconds: dict[str, float] = {}
        self.starts: dict[str, float] = {}

    async def node(self, *interpreters: str, slots: int, **capabilities: object) -> None:
        """A node comes."""
        said = {"interpreters": list(interpreters), **capabilities}
        body = Register.model_validate({"endpoint": "x", "capabilities": said, "slots": slots})
        made = await self.broker.nodes.register(body)
        self.nodes.append(SimNode(made.node_id, made.session, slots))

    async def submit(self, seconds: float, **given: object) -> str:
        """A job comes that will take so long."""
        outcome = await self.broker.submits.submit((SubmitJob.model_validate({"code": "x", **given}),), None)
        job_id = outcome.jobs[0].id
        self.seconds[job_id] = seconds
        return job_id

    async def claim_all(self) -> None:
        """Every node with free slots takes what it can get."""
        for node in self.random.sample(self.nodes, len(self.nodes)):
            if node.free:
                node.claims += 1
                wish = {"node_id": node.node_id, "session": node.session, "claim_number": node.claims}
                grant = await self.broker.claims.claim(
                    Claim.model_validate({**wish, "max_jobs": node.free}), _nobody_hangs_up
                )
                for job in grant.jobs:
                    await self._start(node, job.id, job.fence)

    async def step(self) -> bool:
        """The next job ends, and its slot is taken again; False when nothing runs."""
        await self.claim_all()
        if not self.running:
            return False
        ended = heapq.heappop(self.running)
        self.clock.advance(max(0.0, ended.ends_at - self.clock.now()))
        for node in self.nodes:  # they beat while the clock jumps
            self.broker.book.check(node.node_id, node.session).sign_of_life(self.clock.now(), 60)
        body = Complete.model_validate(
            {
                **{"node_id": ended.node.node_id, "session": ended.node.session, "job_id": ended.job_id},
                **{"fence": ended.fence, "output": "", "error": "", "exit_code": 0},
            }
        )
        await self.broker.finishing.complete(body, [body])
        ended.node.free += 1
        return True

    async def sweep(self) -> None:
        """What the broker does by itself at the moment at which a scheduled job comes due."""
        await self.broker.reaper.tick()

    async def foretell(self, job_id: str) -> Foretold | None:
        """What the broker says of a job now, if it is pending."""
        job = await self.broker.queries.job(job_id)
        if job.status is not JobStatus.PENDING:
            return None
        told = await self.broker.reasons.full(job, MOST_COUNTED)
        assert told.waiting is not None
        return Foretold(self.clock.now(), told.waiting)

    async def _start(self, node: SimNode, job_id: str, fence: int) -> None:
        node.free -= 1
        self.starts[job_id] = self.clock.now()
        ref = {"job_id": job_id, "fence": fence}
        start = {"node_id": node.node_id, "session": node.session, "jobs": [ref]}
        await self.broker.finishing.start(Start.model_validate(start))
        heapq.heappush(self.running, Running(self.clock.now() + self.seconds[job_id], job_id, fence, node))


async def _nobody_hangs_up() -> None:
    raise AssertionError("nothing waits in a simulation")


@asynccontextmanager
async def simulation(directory: Path, seed: int) -> AsyncIterator[Simulation]:
    """A broker without nodes and jobs."""
    clock = FakeClock()
    settings = load_settings(database=directory / "broker.db", job_timeout=86_400, node_timeout=1e9, result_ttl=1e9)
    broker = Broker(settings, STORES["sqlite"](directory), lambda at_least: clock)
    await broker.start()
    try:
        yield Simulation(broker, clock, seed)
    finally:
        await broker.stop()


Draw = Callable[[random.Random, float], float]
SHAPES: dict[str, Draw] = {
    "steady": lambda source, mean: mean,
    "exponential": lambda source, mean: source.expovariate(1 / mean),
    "lognormal": lambda source, mean: source.lognormvariate(0, 0.8) * mean / 1.377,
}
"""How long jobs take: all alike, without memory, or with a long tail; each with the given mean."""
