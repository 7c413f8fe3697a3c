"""Four attackers at once: the nastiest of each class, four times side by side on one node, each with its neighbour."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hostile.campaign import Campaign
from hostile.cases import attacks
from hostile.watch import SHARED_HEALTH_SECONDS
from support.hostile_node import HostileNode

COPIES = 4
#: A slot for each copy's neighbour and two for its attacks. Their memory limits together stay below the container's.
SLOTS = COPIES * 3

CHOSEN = (
    "verdicts/status-words-printed*", "verdicts/kills-*python3*", "wall/stops-its-group-and-parents*",
    "wall/daemon-holds-the-pipe*", "cpu/cpu-limit*bash*", "memory/heap-hog*", "memory/many-small-processes*",
    "memory/shared-mapping*python3*", "processes/fork-bomb*", "processes/detached-fork-bomb*",
    "processes/daemon-immune*", "output/flood[[]*", "files/links-out*bash*", "files/disk-full[[]*", "files/inode-bomb*",
    "files/swapped*python3*", "archives/*-bomb*", "system-calls/table*python3*", "neighbours/*python3*",
)  # fmt: skip


@pytest.fixture(scope="module")
def node() -> Iterator[HostileNode]:
    with HostileNode(slots=SLOTS) as running:
        yield running


def test_four_copies_at_once(node: HostileNode) -> None:
    chosen = [attack for attack in attacks() if any(fnmatch.fnmatch(attack.id, pattern) for pattern in CHOSEN)]
    assert len(chosen) >= 2 * len(CHOSEN)
    with node.view() as view:
        base = view.look(files=True)
        with ExitStack() as stack:
            campaigns = [
                Campaign(node.url, attackers=2, node=view, health_seconds=SHARED_HEALTH_SECONDS) for _ in range(COPIES)
            ]
            copies = [stack.enter_context(campaign) for campaign in campaigns]
            futures = [future for copy in copies for future in copy.launch(chosen).values()]
            reports = [future.result(560) for future in futures]
        failed = [report.text() for report in reports if not report.passed]
        assert not failed, "\n".join(failed)
        assert view.base_problems(base) == []
