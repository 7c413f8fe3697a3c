"""Nodes that die, freeze, leave or are killed by a job: every job ends once, and nobody else's suffers."""

from __future__ import annotations

from typing import Any

from failover.cluster import LONG, SOON, Cluster
from failover.load import Load
from support.waiting import wait_until


def test_a_killed_nodes_jobs_run_elsewhere(cluster: Cluster) -> None:
    jobs, places = cluster.spread(*[2] * 6)
    victim = places[0]
    victim.kill()
    for job, place in zip(jobs, places, strict=True):
        cluster.client.result(job)
        expected = ["node_lost", "completed"] if place is victim else ["completed"]
        assert cluster.outcomes(job) == expected


def test_two_nodes_killed_at_once_lose_nothing(cluster: Cluster) -> None:
    jobs, places = cluster.spread(*[2] * 2 * len(cluster.nodes))
    victims = list(dict.fromkeys(places))[:2]
    for victim in victims:
        victim.kill()
    for job, place in zip(jobs, places, strict=True):
        cluster.client.result(job)
        expected = ["node_lost", "completed"] if place in victims else ["completed"]
        assert cluster.outcomes(job) == expected


def test_a_node_that_slept_past_its_lease_is_a_zombie(cluster: Cluster) -> None:
    """Of two jobs one ends the moment that the node wakes up, and one would go on running."""
    zombie, ended, running = cluster.one_of_each(2, LONG)
    zombie.pause()
    (heir,) = cluster.running([running], elsewhere_than=zombie)
    cluster.client.result(ended)
    assert zombie.sandboxes() == {ended.token, running.token}, "frozen, not ended"
    zombie.resume()
    wait_until(lambda: not zombie.sandboxes(), seconds=SOON, what="the zombie's programs are killed")
    assert running.token in heir.sandboxes()
    assert cluster.outcomes(running) == ["node_lost", None]
    assert cluster.outcomes(ended) == ["node_lost", "completed"]
    # Its result came too late, or it knew itself that the lease was over: which, is a race between two of its threads.
    wait_until(
        lambda: any(_not_believed(line) for line in zombie.log().about(ended.id, fence=1)),
        seconds=SOON,
        what="the zombie had a result and was not believed",
    )
    cluster.client.cancel(running)


def test_a_frozen_node_with_a_free_slot_gets_nothing(cluster: Cluster) -> None:
    """Its claim goes on waiting for work at the broker: a frozen node hangs up on nobody."""
    (lost,), (frozen,) = cluster.spread(3)
    frozen.pause()
    cluster.running([lost], elsewhere_than=frozen)
    later = cluster.fill(0.5)
    for job in [lost, *later]:
        assert cluster.client.result(job)["node_id"] != cluster.listed(frozen)["id"]
    assert cluster.outcomes(lost) == ["node_lost", "completed"]


def test_docker_stop_drains_under_load(cluster: Cluster) -> None:
    long = [cluster.launch(LONG) for _ in range(4)]
    places = cluster.running(long)
    with Load(cluster) as load:
        load.reach(5)
        leaving = places[0]
        assert leaving.stop() == 0, "a drain is a good end"
        back = [job for job, place in zip(long, places, strict=True) if place is leaving]
        cluster.running(back, elsewhere_than=leaving)
        load.reach(10)
    for job in back:
        status = cluster.client.status(job)
        assert (status["attempt"], cluster.outcomes(job)) == (1, ["released", None]), "no attempt is used up"
    for job in long:
        cluster.client.cancel(job)
    for job in load.jobs:
        cluster.client.result(job)
        assert set(cluster.outcomes(job)) <= {"completed", "released"}


def test_a_job_that_kills_its_nodes_ends_and_others_flow(cluster: Cluster) -> None:
    with Load(cluster) as load:
        poison = cluster.launch(LONG, max_retries=2)
        poison.ends = {("failed", "node_lost")}
        for attempt in range(1, 4):
            wait_until(
                lambda n=attempt: cluster.client.status(poison)["attempt"] == n,  # type: ignore[misc]
                seconds=SOON,
                what=f"attempt {attempt} of the poison job",
            )
            (place,) = cluster.running([poison])
            place.kill()
        cluster.client.result(poison)
        assert cluster.outcomes(poison) == ["node_lost"] * 3
        load.reach(len(load.jobs) + 5)
    for job in load.jobs:
        cluster.client.result(job)


def _not_believed(line: dict[str, Any]) -> bool:
    return line["event"] == "attempt_dropped" or line.get("answer") in ("stale_lease", "session_ended")
