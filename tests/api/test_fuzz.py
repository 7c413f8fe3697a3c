"""The OpenAPI document says what the broker does, whatever is sent: a bounded, always equal run of `make fuzz`."""

from pathlib import Path

import pytest

from api.fuzz import broker, fuzz

pytestmark = pytest.mark.anyio
SAME_EVERY_TIME = ("--generation-deterministic",)


async def test_nothing_undocumented_comes_back(tmp_path: Path) -> None:
    async with broker(tmp_path) as process:
        options = (*SAME_EVERY_TIME, "--phases", "coverage,fuzzing", "--max-examples", "3")
        assert not await fuzz(process, *options, seconds=120)
        assert "Traceback" not in process.log_text()
