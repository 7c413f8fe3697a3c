"""The real process: `python node.py`, its flags, its signals, its exit codes, its health check."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.http_fake import PATIENCE

NODE = Path(__file__).parents[3] / "services" / "node"
Start = Callable[..., "subprocess.Popen[str]"]


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(NODE),
        "NODE_LIVE_FILE": str(tmp_path / "live.json"),
        "NODE_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def start(tmp_path: Path, broker: FakeBroker, sandrun: FakeSandrun) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*flags: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(NODE / "node.py"), "--broker", broker.url, "--sandrun", sandrun.url, *flags]
        process = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE)


def wait_healthy(tmp_path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not healthy(tmp_path):
        assert time.monotonic() < deadline


def healthy(tmp_path: Path) -> bool:
    command = [sys.executable, "-m", "agent", "--check"]
    return subprocess.run(command, env=environment(tmp_path), capture_output=True, check=False).returncode == 0


def test_sigterm_drains_and_exits_0(broker: FakeBroker, start: Start, tmp_path: Path) -> None:
    assert not healthy(tmp_path)
    broker.submit("a", "sleep 1.5\necho done")
    process = start()
    broker.wait_for(lambda: broker.started)
    wait_healthy(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert broker.status("a") == "completed"
    assert not healthy(tmp_path)
    assert process.stderr is not None
    assert '"warning"' not in process.stderr.read(), "nothing is wrong with a node that leaves"


def test_second_sigterm_hurries(broker: FakeBroker, start: Start) -> None:
    broker.submit("a", "hang")
    process = start("--drain-seconds", "600")
    broker.wait_for(lambda: broker.started)
    process.send_signal(signal.SIGTERM)
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["draining"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert [release["job_id"] for release in broker.released] == ["a"]


def test_sigterm_while_everything_is_away(start: Start, broker: FakeBroker, sandrun: FakeSandrun) -> None:
    sandrun.stop()
    broker.stop()
    process = start()
    assert process.stderr is not None
    assert "starting" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_sigkilled_process_comes_back_as_the_same_node(broker: FakeBroker, start: Start) -> None:
    broker.submit("a", "hang")
    first = start()
    broker.wait_for(lambda: broker.started)
    first.kill()
    first.wait(PATIENCE)
    broker.jobs["a"]["code"] = "echo again"
    start()
    assert broker.wait_status("a", "completed")["fence"] == 2
    assert broker.registrations[1]["node_id"] == "node-1"


def test_bad_setting_stops_the_start(start: Start) -> None:
    process = start("--slots", "many")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 64
    assert said == "agent: --slots: must be a number from 1 to 256, not 'many'\n"


def test_health_check_is_cheap(tmp_path: Path) -> None:
    """It runs every few seconds: requests and what it brings (some 150 modules) must stay out."""
    script = "import sys, runpy; sys.argv = ['agent', '--check']\ntry: runpy.run_module('agent', run_name='__main__')\n"
    script += "except SystemExit: print('requests' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_paused_and_continued_process_goes_on(broker: FakeBroker, start: Start, tmp_path: Path) -> None:
    """CPython's sigtimedwait reports a signal that never came after SIGSTOP and SIGCONT: it must not be believed."""
    process = start()
    wait_healthy(tmp_path)
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        assert process.stderr is not None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    broker.submit("a")
    broker.wait_status("a", "completed")
    assert not broker.beats[-1]["draining"]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x" * 100_000])
def test_what_was_given_is_shown_on_one_line(start: Start, tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({name: 1}))
    process = start("--config", str(tmp_path / "config.json"))
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 64
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    assert said.endswith("token_file\n")
    assert len(said) < 2000


def test_closed_terminal_drains(broker: FakeBroker, start: Start) -> None:
    broker.submit("a", "hang")
    process = start("--drain-seconds", "0")
    broker.wait_for(lambda: broker.started)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert [release["job_id"] for release in broker.released] == ["a"]


def test_health_file_that_cannot_be_one_ends_no_agent(broker: FakeBroker, start: Start, tmp_path: Path) -> None:
    (tmp_path / "live.json").mkdir()
    broker.submit("a")
    process = start()
    broker.wait_status("a", "completed")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
