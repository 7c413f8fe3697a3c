"""The chaos run for a minute: 200 jobs over 4 nodes. CHAOS_MINUTES and CHAOS_SEED make it longer and repeat choices."""

from __future__ import annotations

import os
import random

import pytest

from failover.chaos import JOBS_PER_MINUTE, NODES, Chaos
from failover.cluster import Cluster

MINUTES = float(os.environ.get("CHAOS_MINUTES") or 1)
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1, 1_000_000))


@pytest.mark.timeout(MINUTES * 60 + 600)
def test_nothing_is_lost_whatever_fails() -> None:
    print(f"CHAOS_SEED={SEED}", flush=True)
    with Cluster(nodes=NODES) as cluster:
        Chaos(cluster, SEED).run(MINUTES * 60)
        assert len(cluster.jobs) >= int(JOBS_PER_MINUTE * MINUTES)
