"""The whole broker behind an HTTP client, in one process, with a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.rig import Api, Started, running


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as api:
        yield api


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Starts a broker with settings of the test's own; the same files every time."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Api]:
        async with running(tmp_path, **settings) as api:
            yield api

    return start
