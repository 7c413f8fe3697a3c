"""Every attack of the catalogue on the real node image, several at once, each judged on its own.

The attacks start together when the first test asks for its report, so the whole takes as long as the slots allow, not
the sum of all wall clocks. The tests come in this order: attacks by jobs, attacks by requests, what is left at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import cast

import pytest

from hostile.campaign import Campaign, Report
from hostile.cases import attacks, http_attacks
from hostile.http_attacks import HttpAttack, run_http_attack
from hostile.model import Attack
from hostile.node_view import NodeView, Snapshot
from hostile.watch import SHARED_HEALTH_SECONDS
from support.hostile_node import HostileNode

#: Seconds to wait for one report: the queue before it is bounded by the whole run.
REPORT_SECONDS = 560


@pytest.fixture(scope="module")
def view(node: HostileNode) -> Iterator[NodeView]:
    with node.view() as looking:
        yield looking


@pytest.fixture(scope="module")
def base(view: NodeView) -> Snapshot:
    return view.look(files=True)


@pytest.fixture(scope="module")
def campaign(node: HostileNode, view: NodeView, base: Snapshot) -> Iterator[Campaign]:
    with Campaign(node.url, node=view, health_seconds=SHARED_HEALTH_SECONDS) as running:
        yield running


@pytest.fixture(scope="module")
def reports(campaign: Campaign, request: pytest.FixtureRequest) -> dict[str, Future[Report]]:
    """All attacks that were selected (-k), started."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    parameters = [item.callspec.params for item in items if item.originalname == "test_attack"]
    return campaign.launch([cast(Attack, each["attack"]) for each in parameters])


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.id)
def test_attack(attack: Attack, reports: dict[str, Future[Report]]) -> None:
    report = reports[attack.id].result(REPORT_SECONDS)
    assert report.passed, report.text()


@pytest.mark.parametrize("attack", http_attacks(), ids=lambda attack: attack.id)
def test_requests(attack: HttpAttack, campaign: Campaign) -> None:
    problems = run_http_attack(campaign, attack)
    assert not problems, f"{attack.why}:\n" + "\n".join(problems)


def test_nothing_is_left(campaign: Campaign, view: NodeView, base: Snapshot) -> None:
    """Processes, zombies, descriptors, memory and files are back to what they were before the first attack."""
    campaign.end()
    assert view.base_problems(base) == []
    harmed = [seen.problem for seen in campaign.neighbour.seen if seen.problem]
    assert harmed == []
