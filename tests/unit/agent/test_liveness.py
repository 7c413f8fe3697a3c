"""The file between the agent and the container's health check."""

import json
import time
from pathlib import Path

import pytest

from agent.liveness import STALE_SECONDS, LiveFile, check, default_path, problem_of


def test_good_health(tmp_path: Path) -> None:
    live = LiveFile(tmp_path / "d" / "live.json")
    live.write("")
    assert problem_of(tmp_path / "d" / "live.json") == ""
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700


def test_problem_is_shown_at_once(tmp_path: Path) -> None:
    live = LiveFile(tmp_path / "live.json")
    live.write("")
    live.write("sandrun does not answer")
    assert problem_of(tmp_path / "live.json") == "sandrun does not answer"


def test_unchanged_health_is_written_now_and_then_only(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    live = LiveFile(path)
    live.write("")
    path.write_text("sentinel")
    live.write("")
    assert path.read_text() == "sentinel"


@pytest.mark.parametrize("age", [STALE_SECONDS + 1, -5])
def test_old_file_is_no_health(tmp_path: Path, age: float) -> None:
    path = tmp_path / "live.json"
    written = time.clock_gettime(time.CLOCK_BOOTTIME) - age
    path.write_text(json.dumps({"pid": 1, "written": written, "problem": ""}))
    assert "has not said anything" in problem_of(path)


@pytest.mark.parametrize("text", ["", "[]", '{"written": "x", "problem": ""}'])
def test_unreadable_file_is_no_health(tmp_path: Path, text: str) -> None:
    path = tmp_path / "live.json"
    path.write_text(text)
    assert "cannot be read" in problem_of(path)


def test_check_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NODE_LIVE_FILE", str(tmp_path / "live.json"))
    assert check() == 1
    LiveFile(default_path()).write("")
    assert check() == 0
    assert capsys.readouterr().out == "no agent runs here\nok\n"
