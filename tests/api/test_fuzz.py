"""The OpenAPI document says what the broker does, whatever is sent: a bounded, always equal run of `make fuzz`."""

from pathlib import Path

import pytest

from api.fuzz import broker, fuzz, new_key
from support.broker_process import BrokerProcess

pytestmark = pytest.mark.anyio
SAME_EVERY_TIME = ("--generation-deterministic",)


async def nothing_found(process: BrokerProcess, options: tuple[str, ...], key: str | None = None) -> None:
    if report := await fuzz(process, *options, seconds=250, key=key):
        pytest.fail(report)
    assert "Traceback" not in process.log_text()


async def test_nothing_undocumented_comes_back(tmp_path: Path) -> None:
    async with broker(tmp_path) as process:
        options = (*SAME_EVERY_TIME, "--phases", "coverage,fuzzing", "--max-examples", "3")
        await nothing_found(process, options)


@pytest.mark.parametrize("role", [None, "client", "admin"])
async def test_nothing_undocumented_comes_back_with_keys(tmp_path: Path, role: str | None) -> None:
    async with broker(tmp_path, keys=True) as process:
        key = None if role is None else await new_key(process, role)
        options = (*SAME_EVERY_TIME, "--phases", "fuzzing", "--max-examples", "3")
        await nothing_found(process, options, key)
