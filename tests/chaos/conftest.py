"""Fault tests run real broker processes on loopback; every scenario ends with the auditor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.rig import Scenario


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Scenario]:
    """Makes the test's scenario; settings of the broker as keywords."""

    def make(*, deletes: bool = False, **environment: str) -> Scenario:
        return Scenario(tmp_path / "broker", deletes=deletes, **environment)

    return make
