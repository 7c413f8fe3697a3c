"""The real supervisor with small programs in place of sandrun and the agent."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.health import Found, HangWatch, probe

NODE = Path(__file__).parents[3] / "services" / "node"
DEADLINE = 60.0

# A child that notes what happens to it. On SIGTERM `obey` ends with 0, a number ends with that, `stay` does not end,
# and `deaf` has not come so far as to handle it.
CHILD = """
import json, os, signal, sys, time
name, manner, folder = sys.argv[1:]
def note(what):
    with open(os.path.join(folder, "events"), "a") as file:
        file.write(f"{name} {what}\\n")
def end(number, frame):
    note(f"signal {number}")
    if manner != "stay":
        note("ends")
        sys.exit(0 if manner == "obey" else int(manner))
if manner != "deaf":
    signal.signal(signal.SIGTERM, end)
with open(os.path.join(folder, name + ".env"), "w") as file:
    mask = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    json.dump({"env": dict(os.environ), "mask": mask, "pid": os.getpid()}, file)
note("starts")
while True:
    time.sleep(0.1)  # a signal that comes just before the sleep is handled after it
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self, sandrun: str = "obey", agent: str = "obey", setup: str = "", **environment: str) -> None:
        commands = [
            [sys.executable, "-c", CHILD, *words, str(self.folder)]
            for words in (("sandrun", sandrun), ("agent", agent))
        ]
        script = (
            f"import sys, supervisor.main as m\nm.SANDRUN_STOP = {DEADLINE}\n{setup}\nsys.exit(m.main(*{commands!r}))"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(NODE), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for("sandrun starts")
        self.wait_for("agent starts")

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, event: str, times: int = 1) -> None:
        deadline = time.monotonic() + DEADLINE
        pause = threading.Event()
        while self.events().count(event) < times:
            assert time.monotonic() < deadline, f"{event}: {self.events()}"
            pause.wait(0.02)

    def child(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{name}.env").read_text())
        return found

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for name in ("sandrun", "agent"):
        if (tmp_path / f"{name}.env").exists():
            try:
                os.kill(made.child(name)["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue
    if made.process is not None:
        made.process.kill()
        made.process.communicate(timeout=DEADLINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_agent_first_then_sandrun(bench: Bench, number: signal.Signals) -> None:
    bench.start()
    bench.send(number)
    assert bench.ended() == 0
    assert bench.events()[2:] == ["agent signal 15", "agent ends", "sandrun signal 15", "sandrun ends"]


def test_second_sigterm_reaches_the_agent(bench: Bench) -> None:
    bench.start(agent="stay")
    bench.send(signal.SIGTERM)
    bench.wait_for("agent signal 15")
    bench.send(signal.SIGTERM)
    bench.wait_for("agent signal 15", times=2)
    assert "sandrun signal 15" not in bench.events()


def test_agent_that_does_not_leave_is_killed(bench: Bench) -> None:
    bench.start(agent="stay", NODE_DRAIN_SECONDS="0.2", NODE_LEAVE_SECONDS="0.3")
    bench.send(signal.SIGTERM)
    assert bench.ended() == 1
    assert bench.events()[-1] == "sandrun ends"


def test_agent_stopped_before_it_listens_leaves_nothing_undone(bench: Bench) -> None:
    bench.start(agent="deaf")
    bench.send(signal.SIGTERM)
    assert bench.ended() == 0


def test_sandrun_that_does_not_leave_is_killed(bench: Bench) -> None:
    bench.start(sandrun="stay", setup="m.SANDRUN_STOP = 0.3")
    bench.send(signal.SIGTERM)
    assert bench.ended() == 0
    assert gone(bench.child("sandrun")["pid"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_dead_agent_ends_the_container(bench: Bench, number: signal.Signals) -> None:
    bench.start()
    os.kill(bench.child("agent")["pid"], number)
    assert bench.ended() == 1
    assert bench.events()[-2:] == ["sandrun signal 15", "sandrun ends"]


def test_agents_exit_code_is_passed_on(bench: Bench) -> None:
    bench.start(agent="64")
    os.kill(bench.child("agent")["pid"], signal.SIGTERM)
    assert bench.ended() == 64


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_dead_sandrun_lets_the_agent_leave_and_ends_the_container(bench: Bench, number: signal.Signals) -> None:
    bench.start()
    os.kill(bench.child("sandrun")["pid"], number)
    assert bench.ended() == 1
    assert bench.events()[-2:] == ["agent signal 15", "agent ends"]


def test_hanging_sandrun_is_killed_and_ends_the_container(bench: Bench) -> None:
    """The child listens nowhere, so no probe is ever answered."""
    setup = f"""
import pathlib, supervisor.health as h
h.FIRST_PROBES_EVERY, h.START_SECONDS, m.TICK = 0.1, 0.5, 0.05
events, hangs = pathlib.Path({str(bench.folder)!r}, "events"), h.HangWatch.hangs
# Not before both children tell of their ends.
h.HangWatch.hangs = lambda self: events.exists() and events.read_text().count("starts") == 2 and hangs(self)
"""
    bench.start(setup=setup, SANDRUN_PORT=str(free_port()))
    assert bench.ended() == 1
    assert gone(bench.child("sandrun")["pid"])
    assert bench.events()[-1] == "agent ends"


def test_paused_container_goes_on(bench: Bench) -> None:
    """CPython's sigtimedwait reports a signal that never came after SIGSTOP and SIGCONT: it must not be believed."""
    bench.start(setup="m.TICK = 0.2")
    assert bench.process is not None
    for number, seconds in ((signal.SIGSTOP, 0.5), (signal.SIGCONT, 0.5)):
        bench.send(number)
        with pytest.raises(subprocess.TimeoutExpired):
            bench.process.wait(seconds)
    assert bench.events() == ["sandrun starts", "agent starts"] or bench.events() == ["agent starts", "sandrun starts"]


def test_children_see_only_their_own_settings(bench: Bench) -> None:
    bench.start(
        BROKER_URL="http://broker:8000",
        NODE_SLOTS="3",
        NODE_STATE_DIR="/var/lib/node",
        SANDRUN_QUEUE="5",
        SANDRUN_URL="http://elsewhere",
        HTTPS_PROXY="http://u:p@proxy",
        DATABASE_PASSWORD="x",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
    )
    sandrun, agent = bench.child("sandrun")["env"], bench.child("agent")["env"]
    for unwanted in ("BROKER_URL", "NODE_SLOTS", "NODE_STATE_DIR", "SANDRUN_URL", "HTTPS_PROXY", "DATABASE_PASSWORD"):
        assert unwanted not in sandrun
    assert (sandrun["SANDRUN_SLOTS"], sandrun["SANDRUN_QUEUE"], sandrun["SANDRUN_HOST"]) == ("3", "5", "127.0.0.1")
    assert (agent["BROKER_URL"], agent["SANDRUN_URL"]) == ("http://broker:8000", "http://localhost:8443")
    assert (agent["NODE_SLOTS"], agent["HTTPS_PROXY"]) == ("3", "http://u:p@proxy")
    assert agent["NODE_LEAVE_SECONDS"] == "7", "it is told when it will be killed"
    assert "SANDRUN_QUEUE" not in agent
    assert agent["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    assert not [name for name in sandrun if name.startswith("OTEL_")], "sandrun tells nobody anything"
    assert "DATABASE_PASSWORD" not in agent


def test_children_start_with_no_signal_blocked_and_in_groups_of_their_own(bench: Bench) -> None:
    bench.start()
    for name in ("sandrun", "agent"):
        child = bench.child(name)
        assert child["mask"] == []
        assert os.getpgid(child["pid"]) == child["pid"]


def test_only_200_is_an_answer() -> None:
    replies = {b"HTTP/1.1 200 OK\r\n\r\n": Found.ANSWER, b"HTTP/1.1 503 X\r\n\r\n": Found.SILENCE, b"": Found.SILENCE}
    for reply, expected in replies.items():
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=reply_once, args=(server, reply))
            thread.start()
            assert probe(server.getsockname()[1]) is expected
            thread.join(DEADLINE)
    assert probe(free_port()) is Found.NOBODY


class Sandrun:
    """What probes find, at a time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.found = Found.ANSWER
        monkeypatch.setattr("supervisor.health.time.monotonic", lambda: self.now)
        monkeypatch.setattr("supervisor.health.probe", lambda port: self.found)

    def condemned_after(self, watch: HangWatch) -> float:
        began = self.now
        while not watch.hangs():
            self.now += 1
            assert self.now < began + 300
        return self.now - began


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Sandrun:
    return Sandrun(monkeypatch)


def test_pause_of_the_container_is_no_hang(probed: Sandrun) -> None:
    watch = HangWatch(1)
    probed.now += 6
    assert not watch.hangs()
    probed.now += 3600
    probed.found = Found.SILENCE
    verdicts = []
    for _ in range(3):
        verdicts.append(watch.hangs())
        probed.now += 6
    assert verdicts == [False, False, True], "three probes in a row, however late the first one was"


def test_hang_right_after_the_start_is_no_slow_start(probed: Sandrun) -> None:
    """It tests its sandbox before it listens. Who listens and is silent hangs, also when no probe was ever answered."""
    watch = HangWatch(1)
    probed.found = Found.NOBODY
    for _ in range(100):
        probed.now += 1
        assert not watch.hangs()
    probed.found = Found.SILENCE
    assert 20 < probed.condemned_after(watch) < 30


def test_start_that_never_ends_is_given_up(probed: Sandrun) -> None:
    probed.found = Found.NOBODY
    assert 119 < probed.condemned_after(HangWatch(1)) < 125


def reply_once(server: socket.socket, reply: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(reply)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
