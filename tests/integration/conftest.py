"""One bundle of a broker and three nodes, and one with the TLS overlay, for the tests that do not break them."""

from collections.abc import Iterator

import pytest

from support.bundle import Bundle
from support.overlay import Overlay, running


@pytest.fixture(scope="package")
def bundle() -> Iterator[Bundle]:
    with Bundle(nodes=3) as running:
        yield running


@pytest.fixture(scope="package")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overlay]:
    with running(tmp_path_factory.mktemp("secrets")) as overlay:
        yield overlay


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Docker, and fails without it."""
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.docker)
