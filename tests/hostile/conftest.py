"""Everything here needs Docker and the node's image, and fails without them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hostile_node import HostileNode


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this directory."""
    for item in items:
        if "hostile" in item.path.parts:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="module")
def node() -> Iterator[HostileNode]:
    """A node of the module's own: what one module does to it cannot be blamed on another."""
    with HostileNode() as running:
        yield running
