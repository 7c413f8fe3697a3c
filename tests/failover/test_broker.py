"""The broker dies, stays away, loses its database, has a full disk, or its clock jumps."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover import stepped_clock
from failover.cluster import LEASE, LONG, SOON, Cluster
from failover.load import Load
from support.waiting import wait_until

HOUR = 3600
LONG_LEASE = 3 * LEASE
"""Outlives a restart of the broker on a busy machine: to be away for longer is another scenario."""


def test_a_broker_away_for_longer_than_the_lease(cluster: Cluster) -> None:
    """What ended meanwhile counts, what the nodes had to end runs again, and nobody's attempts are used up."""
    jobs, _ = cluster.spread(*[2.5] * 4, *[LONG] * 4)
    short, long = jobs[:4], jobs[4:]
    cluster.kill_broker()
    wait_until(
        lambda: not any(node.sandboxes() for node in cluster.nodes),
        seconds=SOON,
        what="the nodes end their programs when the lease is over",
    )
    cluster.start_broker()
    for job in short:
        cluster.client.result(job)
        assert cluster.outcomes(job) == ["completed"]
    # Not before the nodes have said so do they run again; until then the broker believes in the attempts of before.
    wait_until(
        lambda: all(cluster.outcomes(job) == ["released", None] for job in long),
        seconds=SOON,
        what="what the nodes had to end runs again",
    )
    cluster.running(long)
    for job in long:
        assert cluster.client.status(job)["attempt"] == 1
        cluster.client.cancel(job)


@pytest.fixture
def restored(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster for a scenario that puts another broker into it."""
    yield cluster
    cluster.heal()
    cluster.audit()
    cluster.replace_broker()


def test_a_killed_broker_loses_no_job_and_runs_none_again(restored: Cluster) -> None:
    cluster = restored
    cluster.replace_broker(environment={"NODE_TIMEOUT": f"{LONG_LEASE:g}"})
    cluster.wait_registered(cluster.nodes)
    running, _ = cluster.spread(*[3] * 4)
    with Load(cluster) as load:
        load.reach(5)
        cluster.kill_broker()
        cluster.start_broker()
        load.reach(len(load.jobs) + 5)
    for job in [*running, *load.jobs]:
        cluster.client.result(job)
        assert cluster.outcomes(job) == ["completed"]


def test_nodes_come_back_to_a_broker_that_lost_its_database(restored: Cluster) -> None:
    cluster = restored
    lost = cluster.fill(LONG)
    cluster.running(lost)
    cluster.replace_broker()
    # Nobody helps: the nodes find out that nobody knows them, end what nobody wants, and register anew.
    found = [cluster.launch(0.2) for _ in range(12)]
    for job in found:
        cluster.client.result(job)
    cluster.wait_registered(cluster.nodes)
    wait_until(lambda: not any(node.sandboxes() for node in cluster.nodes), seconds=SOON, what="what nobody wants ends")
    assert len(cluster.get("/nodes").json()["nodes"]) == len(cluster.nodes), "each registered once"


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_the_brokers_clock_is_stepped(restored: Cluster, jump: int) -> None:
    """While jobs run and before a restart: no lease ends by it, and none becomes immortal."""
    cluster = restored
    faults = cluster.add_volume()
    cluster.replace_broker(
        environment={"PYTHONPATH": "/faults:/opt/venv/app", "RESULT_TTL": "86400", "NODE_TIMEOUT": f"{LONG_LEASE:g}"},
        volumes={faults: "/faults"},
    )
    _step(cluster, 0)
    cluster.kill_broker()  # it imports the stepped clock at its start
    cluster.start_broker()
    cluster.wait_registered(cluster.nodes)
    before = cluster.launch(0.1)
    cluster.client.result(before)

    _step(cluster, jump)
    jobs, places = cluster.spread(*[3] * 6)
    silent = places[0]
    silent.pause()
    lost = [job for job, place in zip(jobs, places, strict=True) if place is silent]
    cluster.running(lost, elsewhere_than=silent)
    cluster.kill_broker()
    cluster.start_broker()
    silent.resume()
    for job in jobs:
        cluster.client.result(job)
        assert cluster.outcomes(job) == (["node_lost", "completed"] if job in lost else ["completed"])


def _step(cluster: Cluster, seconds: int) -> None:
    """Let the broker's wall clock differ from the real one by so much."""
    files = {"sitecustomize.py": Path(stepped_clock.__file__).read_bytes(), "offset": str(seconds).encode()}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    assert cluster.broker_box.put_archive("/faults", archive.getvalue())
