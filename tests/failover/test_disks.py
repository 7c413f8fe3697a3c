"""Full disks: the broker's, where it answers 503 and forgets nothing, and a node's, which is nobody's job's fault."""

from __future__ import annotations

from failover.cluster import LEASE, Cluster
from support.inside import read_inside
from support.waiting import wait_until

# Grows until nothing fits any more, down to the last block.
_FILL = """
import sys
size = 1 << 20
with open(sys.argv[1], "wb", buffering=0) as file:
    while size:
        try:
            file.write(bytes(size))
        except OSError:
            size //= 2
"""


def test_the_brokers_disk_is_full(cluster: Cluster) -> None:
    disk = cluster.add_volume(type="tmpfs", device="tmpfs", o="size=16m,uid=1000,gid=1000")
    cluster.replace_broker(volumes={disk: "/data"})
    cluster.wait_registered(cluster.nodes)
    running, _ = cluster.spread(*[2] * 4)
    waiting = [cluster.launch(0.2) for _ in range(12)]
    read_inside(cluster.broker_box, "python", "-c", _FILL, "/data/filler")

    def refused() -> bool:
        call = cluster.client.call("submit", "POST", "/submit", {"code": "print('x' * 4096)" * 200})
        return call.status == 503

    wait_until(refused, seconds=60, what="submits are refused with 503")
    cluster.wait_seconds(LEASE + 1)  # results wait on the nodes, and nobody loses its lease
    assert refused()
    assert cluster.get("/health").status_code == 503
    read_inside(cluster.broker_box, "rm", "-f", "/data/filler")
    for job in [*running, *waiting]:
        cluster.client.result(job)
        assert cluster.outcomes(job) == ["completed"]
    cluster.heal()
    cluster.audit()
    cluster.replace_broker()


def test_a_nodes_disk_is_full() -> None:
    with Cluster(nodes=1) as cluster:
        disk = cluster.add_volume(type="tmpfs", device="tmpfs", o="size=8m,uid=1000,gid=1000")
        small = cluster.add_node(cluster.start_node(volumes={disk: "/var/lib/node"}))
        cluster.wait_registered([small])
        read_inside(small.box, "python", "-c", _FILL, "/var/lib/node/filler")
        jobs = [cluster.launch(0.3, files={"in.txt": "x" * 20_000}) for _ in range(16)]
        for job in jobs:
            cluster.client.result(job)
        print([cluster.outcomes(job) for job in jobs], cluster.listed(small))
        read_inside(small.box, "rm", "-f", "/var/lib/node/filler")
        healthy = cluster.nodes[0]
        healthy.kill()
        later = [cluster.launch(0.3, files={"in.txt": "x" * 20_000}) for _ in range(4)]
        for job in later:
            assert cluster.client.result(job)["node_id"] == cluster.listed(small)["id"], "it works again"
        cluster.heal()
        cluster.audit()
