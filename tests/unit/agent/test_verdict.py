"""From sandrun's documents to the broker's completion."""

from typing import Any

import pytest

from agent.description import Description
from agent.model import Key
from agent.verdict import FOREIGN_STREAM, completion

KEY = Key("j", 3)
OURS = Description(extensions=frozenset({"wait", "result"}))


def ended(status: str, **metadata: Any) -> dict[str, Any]:
    return {"status": status, "execution_metadata": metadata}


def test_everything_sandrun_says_is_passed_on() -> None:
    status = ended(
        "failed",
        failure="memory",
        exit_code=None,
        signal=9,
        limit_hit={"name": "memory", "value": 64, "peak": 65},
        wall_time_ms=1500.5,
        cpu_seconds=0.25,
        memory_peak_bytes=100,
        stdout_bytes=2_000_000,
        stderr_bytes=3,
        message="killed",
    )
    sent = completion(KEY, status, {"stdout": "out", "stderr": "err"}, OURS).wire()
    assert sent == {
        "job_id": "j",
        "fence": 3,
        "output": "out",
        "error": "err",
        "exit_code": None,
        "failure": "memory",
        "limit": {"name": "memory", "value": 64, "peak": 65},
        "usage": {"wall_seconds": 1.5005, "cpu_seconds": 0.25, "memory_peak_bytes": 100},
        "signal": 9,
        "output_bytes": 2_000_000,
        "error_bytes": 3,
        "message": "killed",
    }


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (ended("completed", exit_code=0), None),
        (ended("completed"), None),
        (ended("failed", exit_code=7), "exit"),
        (ended("failed", exit_code=137), "exit"),
        (ended("failed", exit_code=0), "platform"),
        (ended("failed"), "platform"),
        ({"status": "failed"}, "platform"),
        (ended("failed", failure="nonsense", exit_code=1), "exit"),
        (ended("failed", failure="platform", message="no sandbox"), "platform"),
    ],
)
def test_failure(status: dict[str, Any], failure: str | None) -> None:
    assert completion(KEY, status, {}, OURS).failure == failure


@pytest.mark.parametrize("described", [OURS, Description()])
def test_completed_means_exit_code_0_said_or_not(described: Description) -> None:
    """The broker takes a result without failure and without exit code for the program's own failure."""
    assert completion(KEY, ended("completed"), {}, described).wire()["exit_code"] == 0
    assert completion(KEY, {"status": "completed"}, {}, described).wire()["exit_code"] == 0


def test_output_that_no_utf8_can_carry_is_mended() -> None:
    assert completion(KEY, ended("completed"), {"stdout": "a\ud800b", "stderr": 5}, OURS).output == "a?b"


def test_foreign_output_is_bounded() -> None:
    text = "a" * FOREIGN_STREAM + "b" * FOREIGN_STREAM
    output = completion(KEY, ended("completed"), {"stdout": text}, Description()).output
    assert len(output) < FOREIGN_STREAM + 100
    assert output.startswith("aaa")
    assert output.endswith("bbb")
    assert f"{FOREIGN_STREAM} characters left out" in output
