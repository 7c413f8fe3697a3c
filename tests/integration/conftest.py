"""One bundle of a broker and three nodes for the tests that do not break it."""

from collections.abc import Iterator

import pytest

from support.bundle import Bundle


@pytest.fixture(scope="package")
def bundle() -> Iterator[Bundle]:
    with Bundle(nodes=3) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Docker, and fails without it."""
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.docker)
