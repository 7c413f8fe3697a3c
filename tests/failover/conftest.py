"""One cluster of four nodes for the scenarios that can be healed; a scenario that fails takes it along."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failover.cluster import Cluster

_FAILED = pytest.StashKey[bool]()


class Stage:
    """The cluster that scenarios share, made when it is needed."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None

    def cluster(self) -> Cluster:
        """A healthy one."""
        if self._cluster is None:
            self._cluster = Cluster(nodes=4).__enter__()
        return self._cluster

    def discard(self) -> None:
        """Nobody knows what is left of it."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.discard()


@pytest.fixture
def cluster(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Four healthy nodes. After the scenario everything is healed and audited."""
    cluster = stage.cluster()
    yield cluster
    try:
        if not request.node.stash.get(_FAILED, False):
            cluster.heal()
            cluster.audit()
            return
    except BaseException:
        cluster.print_logs()
        stage.discard()
        raise
    cluster.print_logs()
    stage.discard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.excinfo is not None:
        item.stash[_FAILED] = True
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Docker, and fails without it."""
    for item in items:
        if "failover" in item.path.parts:
            item.add_marker(pytest.mark.docker)
