"""What the node advertises: found out, unless set."""

import math
import os
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from agent import capabilities
from agent.description import Description, read_description
from agent.settings import load

OURS = Description(
    extensions=frozenset({"wait", "slots"}),
    interpreters={"python3": "3.13.1", "bash": "5.2"},
    version="0.1.0",
    isolation="namespaces",
    slots=2,
    max_memory_mb=2048,
)
FOREIGN = Description()


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_ours_lists_its_interpreters() -> None:
    found = capabilities.detect(load([], {}), OURS)
    assert found["interpreters"] == ["bash", "python3"]
    assert found["interpreter_versions"] == {"python3": "3.13.1", "bash": "5.2"}
    assert (found["isolation"], found["sandrun_version"], found["max_memory_mb"]) == ("namespaces", "0.1.0", 2048)


def test_set_interpreters_are_bounded_by_what_sandrun_has() -> None:
    found = capabilities.detect(load(["--interpreters", "python3,cobol"], {}), OURS)
    assert found["interpreters"] == ["python3"]


def test_sandrun_that_cannot_isolate_offers_nothing() -> None:
    description = read_description(
        {"status": "unavailable", "error": "no user namespaces", "extensions": ["wait"], "interpreters": {"sh": "dash"}}
    )
    assert (description.ready, description.problem) == (False, "no user namespaces")
    assert capabilities.detect(load([], {}), description)["interpreters"] == []


def test_interpreters_beside_a_foreign_sandrun_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "PROBE_SECONDS", 60)
    tool(tmp_path, "python3", "echo Python 3.99.1")
    tool(tmp_path, "node", "exit 1")
    tool(tmp_path, "ruby", "echo no number here")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = capabilities.detect(load([], {}), FOREIGN)
    assert found["interpreters"] == ["python3", "ruby"]
    assert found["interpreter_versions"] == {"python3": "3.99.1"}
    assert "isolation" not in found


def test_interpreter_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "PROBE_SECONDS", 0.2)
    tool(tmp_path, "ruby", "exec sleep 30")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert capabilities.run_interpreters(("ruby",)) == {}


def test_configured_interpreters_stand_for_a_foreign_sandrun_elsewhere() -> None:
    found = capabilities.detect(load(["--interpreters", "cobol"], {}), FOREIGN)
    assert found["interpreters"] == ["cobol"]


@pytest.mark.parametrize(
    ("script", "description", "expected"),
    [
        ("echo 'GPU 0: Some Model (UUID: x)'", FOREIGN, True),
        ("echo 'GPU 0: Some Model (UUID: x)'", OURS, False),
        ("exit 9", FOREIGN, False),
        ("echo 'No devices were found'", FOREIGN, False),
        ("exec sleep 30", FOREIGN, False),
    ],
)
def test_gpu_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, description: Description, expected: bool
) -> None:
    """Ours hands no GPU to a job, so a GPU beside it is none."""
    monkeypatch.setattr(capabilities, "PROBE_SECONDS", 0.3 if "sleep" in script else 60)
    tool(tmp_path, "nvidia-smi", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = load(["--interpreters", "sh"], {})
    assert capabilities.detect(settings, description)["gpu"] is expected


def test_set_values_win() -> None:
    found = capabilities.detect(load(["--gpu", "true", "--cpu-cores", "64", "--memory-gb", "0.5"], {}), OURS)
    assert (found["gpu"], found["cpu_cores"], found["memory_gb"]) == (True, 64, 0.5)


@pytest.mark.parametrize(
    ("flags", "description", "expected"),
    [
        ([], OURS, 2),
        (["--slots", "1"], OURS, 1),
        (["--slots", "9"], OURS, 2),
        (["--cpu-cores", "1"], OURS, 1),
        (["--cpu-cores", "0.5"], OURS, 1),
        (["--memory-gb", "0.6"], OURS, 1),
        (["--cpu-cores", "64", "--memory-gb", "512"], OURS, 2),
        (["--cpu-cores", "1", "--slots", "2"], OURS, 2),
        ([], FOREIGN, 1),
        (["--slots", "4"], FOREIGN, 1),
        (["--slots", "4"], Description(extensions=frozenset({"wait"})), 4),
    ],
)
def test_slots(flags: list[str], description: Description, expected: int) -> None:
    assert capabilities.slots(load(flags, {}), description) == expected


def test_slots_by_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    described = Description(extensions=frozenset({"wait"}))
    monkeypatch.setattr("agent.limits.cpu_cores", lambda: 8)
    monkeypatch.setattr("agent.limits.memory_bytes", lambda: 1600 << 20)
    assert capabilities.slots(load([], {}), described) == 3
    monkeypatch.setattr("agent.limits.memory_bytes", lambda: 100 << 20)
    assert capabilities.slots(load([], {}), described) == 1


def test_descriptions_of_any_shape_are_read() -> None:
    assert read_description({}).foreign
    strange = read_description({"extensions": "wait", "interpreters": ["sh"], "slots": {"total": "two"}, "limits": []})
    assert strange.foreign
    assert strange.interpreters == {"sh": ""}
    assert strange.slots is None


@pytest.mark.parametrize(
    "script",
    ["yes 1.2", "echo 1.2; sleep 30 & exit 0", "printf '\\377'", "echo 1.2; exit 1", "head -c 70000 /dev/zero"],
)
def test_programs_that_flood_or_leave_children_are_no_interpreters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """`yes` for five seconds would fill the node's memory, and a child that holds the pipe would be waited for."""
    monkeypatch.setattr(capabilities, "PROBE_SECONDS", 1.0)
    started: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr("subprocess.Popen", Seen)
    tool(tmp_path, "ruby", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tracemalloc.start()
    try:
        assert capabilities.run_interpreters(("ruby",)) == {}
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(ProcessLookupError):  # of its group, children and all, nothing is left
        _until_gone(started[0].pid)


def _until_gone(group: int) -> None:
    deadline = time.monotonic() + 25  # its `sleep` would be there for 30
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.01)


@pytest.mark.parametrize(("said", "slots"), [(5000, 1024), (math.inf, None), (math.nan, None), (1e300, None)])
def test_a_sandrun_with_more_slots_than_a_broker_takes(said: float, slots: int | None) -> None:
    found = read_description({"extensions": ["wait"], "slots": {"total": said}})
    assert slots == (capabilities.slots(load([], {}), found) if found.slots else None)
