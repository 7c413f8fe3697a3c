"""The load: closed loops that send as fast as they are answered, and an open one that keeps a rate come what may.

The generator shares the broker's two cores, so requests are built before they are sent where they can be, and answers
are parsed only where the next request needs something from them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from support.http_connection import Answer, Connection, json_request, request_bytes

JOB_CODE: Final = "print('hello')\n" + "#" * 497
"""512 bytes, as in the trials that the targets come from."""
SUBMIT: Final = json_request("POST", "/submit", {"code": JOB_CODE})
PYTHON_NODE: Final = {"cpu_cores": 2, "memory_gb": 4, "gpu": False, "interpreters": ["python3"]}


@dataclass(slots=True)
class Sample:
    """One measurement: how many operations in how long, and each one's latency in seconds."""

    seconds: float = 0.0
    count: int = 0
    latencies: list[float] = field(default_factory=list)
    empty_claims: int = 0
    """Claims answered without a job although one that the node can run was pending."""
    server_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        """The latency in milliseconds below which `share` of the operations stayed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class Wire:
    """A connection that is opened again when the server closes it, as Flask's development server does each time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None

    async def send(self, request: bytes) -> Answer:
        """The answer; RuntimeError for any other status than 200."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = self._connection = await Connection.open(self._port)
        answer = await connection.send(request)
        if answer.status != 200:
            raise RuntimeError(f"{request.split(maxsplit=2)[:2]} answered {answer.status}: {answer.body[:300]!r}")
        return answer

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call whose answer is wanted."""
        return (await self.send(json_request(method, path, body))).json()

    def close(self) -> None:
        """Cut it."""
        if self._connection is not None:
            self._connection.abort()


class BenchNode:
    """A registered node that claims and completes on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self.head = ""
        self._numbers = itertools.count(1)

    @classmethod
    async def registered(cls, port: int, *, slots: int = 4, capabilities: dict[str, Any] | None = None) -> BenchNode:
        """A new node."""
        node = cls(port)
        body = {"endpoint": "http://localhost:8443", "capabilities": capabilities or PYTHON_NODE, "slots": slots}
        answer = await node.wire.ask("POST", "/register", body)
        node.head = f'"node_id":"{answer["node_id"]}","session":"{answer["session"]}"'
        return node

    def claim_request(self, max_jobs: int = 1, wait: float = 0) -> bytes:
        """The next claim."""
        number = next(self._numbers)
        body = f'{{{self.head},"claim_number":{number},"max_jobs":{max_jobs},"wait":{wait}}}'
        return request_bytes("POST", "/claim", body.encode())

    async def claim(self, max_jobs: int = 1) -> list[dict[str, Any]]:
        """The jobs of the next claim."""
        answer = await self.wire.send(self.claim_request(max_jobs))
        jobs: list[dict[str, Any]] = json.loads(answer.body)["jobs"]
        return jobs

    async def complete(self, job: dict[str, Any]) -> None:
        """Report success."""
        body = f"{{{self.head},{_success(job)}}}"
        await self.wire.send(request_bytes("POST", "/complete", body.encode()))

    async def complete_all(self, jobs: list[dict[str, Any]]) -> None:
        """Report success for several in one call."""
        body = f'{{{self.head},"completions":[{",".join(f"{{{_success(job)}}}" for job in jobs)}]}}'
        await self.wire.send(request_bytes("POST", "/complete/batch", body.encode()))


def _success(job: dict[str, Any]) -> str:
    return f'"job_id":"{job["id"]}","fence":{job["fence"]},"output":"hello\\n","error":"","exit_code":0'


async def closed_loops(step: Callable[[int], Awaitable[int]], *, loops: int, seconds: float) -> Sample:
    """Run `step` again and again in each of `loops` for `seconds`; it answers how many operations it did.

    Loops that are in the middle of a step when the time is up finish it, and it counts: the time runs until the last.
    """
    sample = Sample()
    started = time.perf_counter()
    until = started + seconds

    async def loop(number: int) -> None:
        while (begin := time.perf_counter()) < until:
            done = await step(number)  # not `count += await`: that reads the count before it waits
            sample.count += done
            sample.latencies.append(time.perf_counter() - begin)

    await asyncio.gather(*(loop(number) for number in range(loops)))
    sample.seconds = time.perf_counter() - started
    return sample


async def sleep_until(due: float) -> None:
    """Until `due` on time.perf_counter; at once when it has passed."""
    delay = due - time.perf_counter()
    if delay > 0:
        await asyncio.sleep(delay)


async def open_loop(wires: list[Wire], request: Callable[[], bytes], *, rate: float, seconds: float) -> Sample:
    """Send at `rate` a second whatever the answers do. Latency counts from when a request was due, not from when it
    left: a server that stalls does not hide the requests that it kept from being sent."""
    sample = Sample()
    idle = list(wires)
    free = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    started = time.perf_counter()

    async def one(wire: Wire, due: float) -> None:
        await wire.send(request())
        sample.latencies.append(time.perf_counter() - due)
        idle.append(wire)
        free.set()

    for number in range(int(rate * seconds)):
        due = started + number / rate
        await sleep_until(due)
        while not idle:
            free.clear()
            await free.wait()
        task = asyncio.create_task(one(idle.pop(), due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    sample.count, sample.seconds = len(sample.latencies), time.perf_counter() - started
    return sample


async def fill(port: int, jobs: int, make: Callable[[int], dict[str, Any]], *, connections: int = 4) -> float:
    """Submit so many jobs in batches of 1,000; the seconds that it took."""
    started = time.perf_counter()
    numbers = iter(range(0, jobs, 1000))

    async def worker() -> None:
        wire = Wire(port)
        for start in numbers:
            batch = [make(number) for number in range(start, min(start + 1000, jobs))]
            await wire.ask("POST", "/submit/batch", {"jobs": batch})
        wire.close()

    await asyncio.gather(*(worker() for _ in range(connections)))
    return time.perf_counter() - started
