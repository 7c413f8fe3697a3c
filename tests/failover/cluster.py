"""A broker and nodes in containers that are broken on purpose, and the proof afterwards that nothing was lost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

from failover.client import Client, Job
from failover.node import Node
from support.auditor import TERMINAL, Auditor
from support.bundle import Bundle, ServiceContainer, wrapped
from support.history import History
from support.inside import read_inside
from support.leftovers import labels
from support.records import Records
from support.waiting import wait_until

LEASE = 8.0
QUICK = {"NODE_TIMEOUT": f"{LEASE:g}", "JOB_TIMEOUT": "300", "BROKER_TIMEOUT_GRACE": "3"}
"""A lease that keeps scenarios short and is long against what an honest node on a busy machine takes to beat."""
STUCK_SECONDS = 120.0
"""No job of these scenarios takes nearly as long: if none ends for so long, none will."""
LONG = 250.0
"""Seconds of a job that is ended from outside, or runs until nobody waits for it any more."""
SOON = 90.0
"""Seconds within which what has to come has come, on a busy machine too: far from the end of a long job."""
NODE = {"NODE_SLOTS": "2", "NODE_DRAIN_SECONDS": "3", "LOG_LEVEL": "debug"}

# One consistent copy of the database while the broker runs, whatever its write-ahead log holds.
_SNAPSHOT = """\
import sqlite3, sys
copy = sqlite3.connect(":memory:")
sqlite3.connect("/data/broker.db").backup(copy)
sys.stdout.buffer.write(copy.serialize())
"""


class Cluster(Bundle):
    """A bundle with short leases. Jobs that are submitted through it are waited for and checked by `audit`."""

    def __init__(
        self,
        *,
        nodes: int,
        broker: dict[str, str] | None = None,
        node: dict[str, str] | None = None,
    ) -> None:
        super().__init__(nodes=0, broker=QUICK | (broker or {}), node=NODE | (node or {}))
        self._wanted = nodes
        self._volumes: list[Volume] = []
        self.history = History()
        self.client = Client("client", self.url, self.history)
        self.nodes: list[Node] = []
        self.jobs: list[Job] = []

    def __enter__(self) -> Cluster:
        super().__enter__()
        try:
            self.add_nodes(self._wanted)
        except BaseException:
            self.print_logs()
            self.close()
            raise
        return self

    def close(self) -> None:
        """Remove everything."""
        self.client.close()
        super().close()
        for volume in self._volumes:
            volume.remove()
        self._volumes.clear()

    @property
    def label(self) -> str:
        """What everything that belongs to it carries."""
        return self._label

    @property
    def pool(self) -> Network:
        """The nodes' network."""
        return self.broker_box.client.networks.get(self._pool.id)

    # -- nodes

    def add_nodes(self, count: int, environment: Mapping[str, str] | None = None) -> list[Node]:
        """Further nodes, once they are registered."""
        added = [self.add_node(container) for container in self.start_nodes(count, environment)]
        self.wait_registered(added)
        return added

    def add_node(self, container: ServiceContainer) -> Node:
        """Take a container that was started otherwise for a node."""
        node = Node(container, self.pool)
        self.nodes.append(node)
        return node

    def wait_registered(self, nodes: Iterable[Node], *, seconds: float = 120) -> None:
        """Until the broker has heard each of these nodes from now on."""
        silent = {node.name for node in nodes}
        before = {name: self._listed().get(name, {}).get("last_heartbeat") for name in silent}

        def all_heard() -> bool:
            now = self._listed()
            return all(
                name in now and now[name]["active"] and now[name]["last_heartbeat"] != before[name] for name in silent
            )

        wait_until(all_heard, seconds=seconds, what=f"{silent} are heard")

    def _listed(self) -> dict[str, dict[str, Any]]:
        """What /nodes says, by name; of several with one name the newest."""
        nodes = sorted(self.get("/nodes").json()["nodes"], key=lambda node: str(node["registered_at"]))
        return {node["name"]: node for node in nodes}

    def listed(self, node: Node) -> dict[str, Any]:
        """What /nodes says of this one."""
        return self._listed()[node.name]

    # -- other containers

    def add(self, container: ServiceContainer, alias: str) -> None:
        """Start it on the pool's network under this name."""
        container.with_network(self._pool)
        container.with_network_aliases(alias)
        self._start(container)

    def add_volume(self, **options: str) -> str:
        """A volume's name; `options` are those of mount, for one that is small."""
        client = self.broker_box.client
        driver = {"driver": "local", "driver_opts": options} if options else {}
        volume = client.volumes.create(labels=labels(self._label), **driver)
        self._volumes.append(volume)
        return str(volume.name)

    def replace_broker(
        self, *, environment: dict[str, str] | None = None, volumes: dict[str, str] | None = None
    ) -> None:
        """Another broker with an empty database takes the old one's place. What the old one accepted is forgotten."""
        self.containers.remove(self.broker)
        self.broker.stop()
        self.forget()
        self.broker = self._broker(QUICK | (environment or {}))
        for name, path in (volumes or {}).items():
            self.broker.with_volume_mapping(name, path, "rw")
        self._start_broker()

    def forget(self) -> None:
        """Begin another history."""
        self.client.close()
        self.history = History()
        self.client = Client("client", self.url, self.history)
        self.jobs = []

    # -- jobs

    def launch(self, seconds: float, **fields: Any) -> Job:
        """A job that runs for so long, checked at the end."""
        job = self.client.submit(seconds, **fields)
        self.jobs.append(job)
        return job

    def fill(self, seconds: float) -> list[Job]:
        """A job for each slot of the pool."""
        return [self.launch(seconds) for _ in range(2 * len(self.nodes))]

    def running(self, jobs: Iterable[Job], *, seconds: float = SOON, elsewhere_than: Node | None = None) -> list[Node]:
        """Where these jobs run, once all do (and none on that node)."""
        jobs = list(jobs)

        def all_placed() -> list[Node]:
            names = {node["id"]: node["name"] for node in self.get("/nodes").json()["nodes"]}
            by_name = {node.name: node for node in self.nodes}
            said = [self.client.status(job) for job in jobs]
            places = [by_name[names[s["node_id"]]] for s in said if s["status"] == "running"]
            return places if len(places) == len(jobs) and elsewhere_than not in places else []

        return wait_until(all_placed, seconds=seconds, what=f"{len(jobs)} jobs run")

    def spread(self, *seconds: float) -> tuple[list[Job], list[Node]]:
        """Jobs of these lengths that all run now, and where, each with time before it.

        A machine too busy to start them all in that time gets longer ones.
        """
        for factor in (1, 2, 4, 8, 16):
            begun = time.monotonic()
            jobs = [self.launch(factor * length) for length in seconds]
            places = wait_until(lambda: self._places(jobs), seconds=SOON, what="these jobs run, or have ended")  # noqa: B023
            if None not in places and time.monotonic() - begun < 0.6 * factor * min(seconds):
                return jobs, [place for place in places if place is not None]
            for job in jobs:
                self.client.cancel(job)
            for job in jobs:
                self.client.result(job)
        raise AssertionError(f"jobs of {seconds} s do not run at once, however long they are made")

    def _places(self, jobs: list[Job]) -> list[Node | None]:
        """Where these jobs run, None for what has ended; empty while one waits."""
        names = {node["id"]: node["name"] for node in self.get("/nodes").json()["nodes"]}
        by_name = {node.name: node for node in self.nodes}
        said = [self.client.status(job) for job in jobs]
        if any(status["status"] not in ("running", *TERMINAL) for status in said):
            return []
        return [by_name[names[s["node_id"]]] if s["status"] == "running" else None for s in said]

    def one_of_each(self, short: float, long: float) -> tuple[Node, Job, Job]:
        """A node that runs two jobs of these lengths, and its jobs; all other slots run short ones."""
        (running, *others), (victim, *places) = self.spread(long, *[short] * (2 * len(self.nodes) - 1))
        (beside,) = [job for job, place in zip(others, places, strict=True) if place is victim]
        return victim, beside, running

    def outcomes(self, job: Job) -> list[str | None]:
        """What became of each of its attempts."""
        return [attempt["outcome"] for attempt in self.client.attempts(job)]

    # -- the broker

    @property
    def broker_box(self) -> Container:
        """docker-py's container."""
        return wrapped(self.broker)

    def kill_broker(self) -> None:
        """SIGKILL."""
        self.history.mark("broker killed")
        self.broker_box.kill("SIGKILL")

    def start_broker(self) -> None:
        """Start it on the same volume and wait until it answers."""
        self.history.mark("broker started")
        self.broker_box.start()
        self.wait_healthy()

    # -- the end

    def heal(self) -> None:
        """Undo every fault, and wait until the broker hears all nodes again."""
        for node in self.nodes:
            node.heal()
        self.wait_registered(self.nodes)

    def audit(self) -> Records:
        """Wait for every job, and judge all that has happened so far. The cluster has to be healed."""
        runs: dict[str, Job] = {}
        self._wait_for_the_rest()
        for job in self.jobs:
            self.client.result(job)
            if job.run:
                assert runs.setdefault(job.run, job) is job, f"one run is the result of {job} and {runs[job.run]}"
        wait_until(
            lambda: not any(node.sandboxes() for node in self.nodes), seconds=SOON, what="no program is left anywhere"
        )
        with tempfile.TemporaryDirectory() as directory:
            database = Path(directory) / "broker.db"
            database.write_bytes(copy_database(self.broker_box))
            return Auditor(self.history, database, logs=[node.log() for node in self.nodes]).check()

    def _wait_for_the_rest(self) -> None:
        """Until nothing is open, or no job has ended for a while.

        Priorities decide which is last, and a backlog on a busy machine takes its time: only a job that stays when the
        others have ended is lost.
        """
        least = self._open()
        patience = time.monotonic() + STUCK_SECONDS
        while least and time.monotonic() < patience:
            time.sleep(0.1)  # the poll interval
            if (now := self._open()) < least:
                least = now
                patience = time.monotonic() + STUCK_SECONDS

    def _open(self) -> int:
        """How many jobs have not ended."""
        by_status: dict[str, int] = self.get("/health").json()["jobs_by_status"]
        return sum(count for status, count in by_status.items() if status not in TERMINAL)

    def wait_seconds(self, seconds: float) -> None:
        """For a fault that has a length: what is waited for is that nothing happens meanwhile."""
        time.sleep(seconds)


def copy_database(broker: Container) -> bytes:
    """A broker's database as it is now."""
    return read_inside(broker, "python", "-c", _SNAPSHOT)
