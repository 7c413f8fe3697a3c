"""Brokers in this process, with a clock that stands still, and as processes; receivers of webhooks."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.files_rig import LONG_ENOUGH, Rig
from api.rig import Api, Started, running
from api.webhook_receiver import Receiver
from broker.service import webhooks
from support.broker_process import BrokerProcess


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


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A broker process for tests with files, and its one node."""
    async with (
        BrokerProcess(tmp_path, {"BROKER_DATABASE": str(tmp_path / "data" / "broker.db")}) as broker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{broker.port}", timeout=LONG_ENOUGH) as client,
    ):
        rig = Rig(broker, client)
        await rig.register()
        yield rig


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    """A broker process that waits for slow callers no longer than a second."""
    async with BrokerProcess(tmp_path, {"BROKER_HEAD_TIMEOUT": "3", "BROKER_BODY_TIMEOUT": "3"}) as process:
        yield process


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def another() -> Iterator[Receiver]:
    made = Receiver("127.0.0.2")
    yield made
    made.close()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries of a webhook follow each other at once."""
    monkeypatch.setattr(webhooks, "RETRIES", (0.01, 0.01, 0.01))
