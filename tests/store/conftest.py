"""Every test here runs against every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.store.base import Store
from support.stores import STORES, Heard, opened


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=sorted(STORES))
def store_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def store(store_name: str, tmp_path: Path, heard: Heard) -> AsyncIterator[Store]:
    async with opened(store_name, tmp_path, heard) as store:
        yield store
