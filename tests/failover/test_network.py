"""Networks that fail without telling anybody: a node off the network, and a way that is open in one direction only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failover.cluster import LONG, SOON, Cluster
from failover.node import Node
from failover.ways import Relay
from support.waiting import wait_until


def test_a_node_cut_off_for_less_than_its_lease_keeps_its_jobs(cluster: Cluster) -> None:
    """One job ends while the node is off the network, one afterwards."""
    victim, *jobs = cluster.one_of_each(2, 6)
    victim.cut()
    cluster.wait_seconds(1.5)
    victim.mend()
    for job in jobs:
        cluster.client.result(job)
        assert cluster.outcomes(job) == ["completed"], "nothing has happened"


def test_a_node_cut_off_for_longer_ends_its_programs_and_is_not_believed(cluster: Cluster) -> None:
    """Its first job ends before it knows that it has lost it, the second must not go on beside its heir."""
    victim, ended, running = cluster.one_of_each(2.5, LONG)
    victim.cut()
    wait_until(lambda: not victim.sandboxes(), seconds=SOON, what="it ends its own programs in time")
    (heir,) = cluster.running([running], elsewhere_than=victim)
    cluster.client.result(ended)
    assert cluster.outcomes(ended) == ["node_lost", "completed"]
    victim.mend()
    cluster.wait_registered([victim])
    assert cluster.outcomes(running) == ["node_lost", None]
    assert running.token in heir.sandboxes()
    cluster.client.cancel(running)


@pytest.fixture(scope="module")
def relayed() -> Iterator[tuple[Cluster, Node, Relay]]:
    """Two nodes, one of which reaches the broker through a relay only."""
    with Cluster(nodes=1) as cluster:
        relay = Relay(cluster)
        (far,) = cluster.add_nodes(1, {"BROKER_URL": relay.url})
        yield cluster, far, relay


@pytest.mark.parametrize("direction", ["requests", "answers"])
def test_a_way_that_is_open_in_one_direction_only(relayed: tuple[Cluster, Node, Relay], direction: str) -> None:
    """Whichever is lost, the node ends its programs when its lease is over, and its jobs do not wait for it."""
    cluster, far, relay = relayed
    jobs, places = cluster.spread(2, 4, 4, 2)
    relay.hold(direction)
    # Claimed through the open way, never heard of: the broker has to find out.
    jobs += [cluster.launch(0.5) for _ in range(6)]
    wait_until(lambda: not far.sandboxes(), seconds=SOON, what="the far node ends its programs")
    for job in jobs:
        cluster.client.result(job)
    for job, place in zip(jobs, places, strict=False):
        if place is not far:
            assert cluster.outcomes(job) == ["completed"]
    relay.let_pass()
    cluster.wait_registered([far])
    cluster.audit()
