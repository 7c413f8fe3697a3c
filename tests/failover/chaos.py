"""Everything at once: jobs keep coming while nodes, the network and the broker fail at random, and then the audit.

`make chaos MINUTES=10 SEED=7` runs it by hand, a test for a minute. A seed repeats a run's choices, not its timing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from failover.client import Client, Job
from failover.cluster import LEASE, Cluster
from failover.node import Node, freeze

NODES = 4
PAUSE = (0.5, 4.0)
"""Seconds from one fault to the next; two may last at a time."""
LONG = LEASE + 2
"""A fault that outlasts the lease."""
JOBS_PER_MINUTE = 200

Fault = Callable[[random.Random], None]


class Chaos:
    """One run over a cluster whose nodes and broker belong to it alone."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._seed = seed
        self.faults: list[str] = []
        self._busy: dict[str, Future[None]] = {}
        """What each node, or the broker, is going through."""

    def run(self, seconds: float) -> None:
        """Break things for so long; then every job has to end well, and the auditor has to be content."""
        until = time.monotonic() + seconds
        with _Work(self._cluster, self._seed, seconds) as work, ThreadPoolExecutor(2) as threads:
            while time.monotonic() < until:
                time.sleep(self._chance.uniform(*PAUSE))  # some quiet between two faults
                work.check()
                self._busy = {name: fault for name, fault in self._busy.items() if not _done(fault)}
                if len(self._busy) < 2:
                    self._break_something(threads)
            for fault in self._busy.values():
                fault.result(timeout=200)
        self._cluster.heal()
        print(f"{len(self._cluster.jobs)} jobs, {len(self.faults)} faults: {', '.join(self.faults)}", flush=True)
        self._cluster.audit()

    def _break_something(self, threads: ThreadPoolExecutor) -> None:
        faults: list[tuple[str, str, Fault]] = []
        for number, node in enumerate(self._cluster.nodes):
            faults += [(f"node {number}", name, fault) for name, fault in _node_faults(node)]
        # The broker as often as one node.
        faults += [("broker", name, fault) for name, fault in _broker_faults(self._cluster)]
        whom, name, fault = self._chance.choice([entry for entry in faults if entry[0] not in self._busy])
        chance = random.Random(self._chance.random())
        self.faults.append(f"{name} {whom}")
        self._cluster.history.mark(self.faults[-1])
        self._busy[whom] = threads.submit(fault, chance)


def _done(fault: Future[None]) -> bool:
    if fault.done():
        fault.result()  # raises what went wrong in it
    return fault.done()


def _node_faults(node: Node) -> list[tuple[str, Fault]]:
    def kill(chance: random.Random) -> None:
        node.kill()
        time.sleep(chance.random() * 3)  # until somebody starts it again
        node.start()

    def stop(chance: random.Random) -> None:
        # 143: its first program had just been started and did not listen yet. Never 137 or 1: node and agent leave by
        # themselves, also with the broker away; what could not be delivered waits on the disk.
        assert node.stop() in (0, 143)
        time.sleep(chance.random() * 2)
        node.start()

    def pause(chance: random.Random) -> None:
        node.pause()
        time.sleep(chance.uniform(0.2, LONG))  # as long as it sleeps
        node.resume()

    def cut(chance: random.Random) -> None:
        node.cut()
        time.sleep(chance.uniform(0.2, LONG))  # as long as it is alone
        node.mend()

    return [("kill", kill), ("stop", stop), ("pause", pause), ("cut", cut)]


def _broker_faults(cluster: Cluster) -> list[tuple[str, Fault]]:
    box = cluster.broker_box

    def kill(chance: random.Random) -> None:
        cluster.kill_broker()
        time.sleep(chance.choice([0, 1, LONG]) * chance.random())  # at once, soon, or after the leases' end
        cluster.start_broker()

    def stop(chance: random.Random) -> None:
        box.stop(timeout=15)
        time.sleep(chance.random())
        cluster.start_broker()

    def pause(chance: random.Random) -> None:
        freeze(box)
        time.sleep(chance.uniform(0.2, LONG))  # as long as it sleeps
        box.unpause()

    def cut(chance: random.Random) -> None:
        cluster.pool.disconnect(box)
        time.sleep(chance.uniform(0.2, LONG))  # as long as no node reaches it
        cluster.pool.connect(box, aliases=["broker"])

    return [("kill", kill), ("stop", stop), ("pause", pause), ("cut", cut)]


class _Work:
    """Two clients that submit jobs of all kinds, and cancel some. They make up for the time that a broker was away."""

    def __init__(self, cluster: Cluster, seed: int, seconds: float) -> None:
        self._cluster = cluster
        self._jobs_each = round(JOBS_PER_MINUTE * seconds / 60 / 2)
        self._every = seconds / self._jobs_each
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._submit, args=(seed + n,)) for n in (1, 2)]

    def __enter__(self) -> _Work:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.check()

    def check(self) -> None:
        """Raise what a client met."""
        for error in self._errors:
            raise error

    def _submit(self, seed: int) -> None:
        chance = random.Random(seed)
        client = Client(f"client-{seed}", self._cluster.url, self._cluster.history)
        begun = time.monotonic()
        try:
            for number in range(self._jobs_each):
                self._stop.wait(max(0.0, begun + number * self._every - time.monotonic()))
                job = self._one(client, chance)
                self._cluster.jobs.append(job)
                if chance.random() < 0.05:
                    client.cancel(job)
        except BaseException as error:
            self._errors.append(error)
        finally:
            client.close()

    @staticmethod
    def _one(client: Client, chance: random.Random) -> Job:
        seconds = chance.choice([0.0, 0.2, 0.5, 1.0, 2.0, 4.0])
        return client.submit(
            seconds, code=chance.choice([0, 0, 0, 0, 3]), priority=chance.randrange(10), max_retries=100
        )
