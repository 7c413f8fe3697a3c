"""Whatever hangs in the agent, its heartbeats go on, and the end of the lease ends its runs."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.threads import Crash
from unit.agent.conftest import StartAgent, TestClock
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun
from unit.agent.http_fake import PATIENCE
from unit.agent.test_process import Start, start

__all__ = ["start"]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], threading.Event]]:
    """Makes a function hang until the test is over; the event says that somebody is in it."""
    over = threading.Event()

    def hang(name: str) -> threading.Event:
        inside = threading.Event()

        def stuck_call(*_: Any, **__: Any) -> Any:
            inside.set()
            over.wait(5 * PATIENCE)
            raise OSError(5, "it was stuck")

        monkeypatch.setattr(name, stuck_call)
        return inside

    yield hang
    over.set()


def beats(broker: FakeBroker, count: int = 3) -> None:
    """So many more beats come."""
    seen = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= seen + count)


def test_disk_that_hangs_stops_neither_beats_nor_jobs(
    broker: FakeBroker, start_agent: StartAgent, tmp_path: Path, stuck: Callable[[str], threading.Event]
) -> None:
    start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: len(broker.beats) >= 1)
    spool, live = stuck("agent.spool.write_durably"), stuck("agent.liveness.json.dump")
    broker.refuse["/complete"] = [(503, {"error": "not now"})]
    broker.submit("a")
    assert spool.wait(PATIENCE)
    assert live.wait(PATIENCE)
    beats(broker)
    broker.submit("b")
    broker.wait_status("a", "completed")
    broker.wait_status("b", "completed")


def test_disk_that_hangs_does_not_save_a_run_from_the_leases_end(
    broker: FakeBroker,
    sandrun: FakeSandrun,
    start_agent: StartAgent,
    tmp_path: Path,
    clock: TestClock,
    stuck: Callable[[str], threading.Event],
) -> None:
    broker.lease = 600
    spool = stuck("agent.spool.write_durably")
    broker.submit("a", "hang")
    start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.started)
    broker.refuse["/complete"] = [(503, {"error": "not now"})] * 100
    broker.submit("b")
    assert spool.wait(PATIENCE)
    clock.ahead = 10_000
    sandrun.wait_for(lambda: sandrun.cancelled)


def test_drain_ends_though_the_disk_hangs(
    broker: FakeBroker, start_agent: StartAgent, tmp_path: Path, stuck: Callable[[str], threading.Event]
) -> None:
    agent = start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.beats)
    spool = stuck("agent.spool.write_durably")
    broker.refuse["/complete"] = [(503, {"error": "not now"})] * 100
    broker.submit("a")
    assert spool.wait(PATIENCE)
    agent.crash.spawn("drain", agent.drain)
    assert agent.stopped.wait(PATIENCE)


def test_cancels_that_wait_do_not_hold_up_the_kill_of_a_lost_run(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled run may still deliver what it printed; another node may have the lost one by now."""
    monkeypatch.setattr("agent.stopper.CANCEL_GRACE", 5 * PATIENCE)
    monkeypatch.setattr(FakeSandrun, "_ended", staticmethod(lambda job: False))  # nothing reports its end
    sandrun.slots = 8
    broker.lease = 600
    for number in range(8):
        broker.submit(f"j{number}", "hang" if number < 7 else "hang\necho lost")
    start_agent()
    broker.wait_for(lambda: len(broker.started) == 8 and broker.links)
    for number in range(7):
        broker.tell({"type": "cancel", "job_id": f"j{number}", "fence": 1})
    sandrun.wait_for(lambda: len(sandrun.cancelled) >= 4)
    broker.tell({"type": "lost", "job_id": "j7", "fence": 1})
    (lost,) = (name for name, job in sandrun.jobs.items() if job["stdout"])
    sandrun.wait_for(lambda: lost in sandrun.cancelled)
    assert len(sandrun.cancelled) < 8


def test_nobody_reads_its_log(broker: FakeBroker, sandrun: FakeSandrun, start: Start) -> None:
    """`node.py | something that stopped reading`: 64 KiB fill a pipe, and whoever writes then waits for ever."""
    process = start("--log-level", "debug", "--log-format", "json")
    for number in range(600):
        broker.submit(f"j{number}")
    for number in range(600):
        broker.wait_status(f"j{number}", "completed")
    beats(broker, 2)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_no_thread_to_be_had_ends_no_agent(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's processes count against the container's pids limit as the agent's threads do."""
    real, full = Crash.spawn, threading.Event()

    def spawn(self: Crash, name: str, work: Callable[[], None]) -> threading.Thread:
        if full.is_set():
            raise RuntimeError("can't start new thread")
        return real(self, name, work)

    agent = start_agent()
    broker.wait_for(lambda: broker.links)
    monkeypatch.setattr(Crash, "spawn", spawn)
    full.set()
    broker.submit("a", follow=True)
    broker.wait_for(lambda: broker.released)
    assert not agent.crash.happened.is_set()
    full.clear()
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_slow_dns_is_waited_for_by_those_who_connect_only(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that does not answer blocks connect for as long as its own settings say; what is open is used on."""
    start_agent()
    broker.wait_for(lambda: broker.links and broker.calls["/claim"])
    began = threading.Event()
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        began.set()
        over.wait(5 * PATIENCE)
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", hang)
    broker.break_links()
    assert began.wait(PATIENCE)
    over.set()
    monkeypatch.undo()
    broker.submit("a")
    broker.wait_status("a", "completed")


def test_sandrun_that_returns_otherwise_while_the_broker_is_away_is_registered_as_it_is(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced between two checks, and no run tells of it."""
    monkeypatch.setattr("agent.sandrun_watch.HEALTH_EVERY", 0.2)
    monkeypatch.setattr("agent.sandrun_watch.LOOK_EVERY", 0.5)
    broker.stop()
    agent = start_agent()
    deadline = time.monotonic() + PATIENCE
    while not agent.parts.registrar.offered[1]:
        assert time.monotonic() < deadline
        agent.stopped.wait(0.01)
    sandrun.interpreters = {"cobol": "85"}
    sandrun.restart()
    while "cobol" not in agent._offer[0].get("interpreters", ()):
        assert time.monotonic() < deadline
        agent.stopped.wait(0.01)
    broker.start()
    broker.wait_for(lambda: broker.registrations)
    assert broker.registrations[-1]["capabilities"]["interpreters"] == ["cobol"]


@pytest.mark.parametrize(
    "page", [(200, {"hello": "world"}), (503, {"error": "overloaded"}), (404, {"error": "Not Found"})]
)
def test_something_that_is_no_sandrun_gets_no_jobs(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, page: tuple[int, dict[str, Any]]
) -> None:
    """An error page in place of `GET /` must not make our sandrun a foreign one of one slot."""
    sandrun.refuse["/"] = [page] * 3
    start_agent()
    broker.wait_for(lambda: broker.registrations)
    assert not sandrun.refuse["/"]
    assert broker.registrations[0]["slots"] == 2
    assert len(broker.registrations) == 1


def test_web_page_in_place_of_sandrun_does_not_end_the_agent(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    sandrun.raw["/"] = [page] * 3
    start_agent()
    broker.wait_for(lambda: broker.registrations)
    assert sandrun.calls["/"] == 4


def test_last_lines_of_a_process_are_written(start: Start, broker: FakeBroker) -> None:
    process = start()
    broker.wait_for(lambda: broker.beats)
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert isinstance(process, subprocess.Popen)
    assert '"event": "stopped"' in said.splitlines()[-1]
