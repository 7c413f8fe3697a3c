"""Unit tests of the broker: no process, no network."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
