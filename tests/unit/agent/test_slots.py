"""Slots, and the line of attempts that were claimed ahead."""

import threading
from collections.abc import Callable, Iterator

import pytest

from agent import slots as slots_module
from agent.attempts import Attempt
from agent.broker_client import SessionTerms
from agent.clock import BootClock
from agent.lease import Session
from agent.model import Job, Key
from agent.slots import Slots
from agent.threads import Crash

DEADLINE = 60.0


class Runs:
    """Runs that last until they are let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.changed = threading.Condition()

    def run(self, attempt: Attempt) -> None:
        name = attempt.key.job_id
        with self.changed:
            self.started.append(name)
            self.changed.notify_all()
        gate = self.gates.get(name)
        if gate is not None:
            assert gate.wait(DEADLINE)

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE)

    def freed(self) -> None:
        with self.changed:
            self.changed.notify_all()


@pytest.fixture
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    for gate in made.gates.values():
        gate.set()


@pytest.fixture
def slots(runs: Runs) -> Slots:
    made = Slots(runs.run, runs.freed, Crash())
    made.resize(2)
    return made


def attempt(name: str) -> Attempt:
    terms = SessionTerms("n", "s", None, 60.0, 20.0, BootClock().now())
    return Attempt(Job(Key(name, 1), "", "sh"), Session(terms, BootClock()))


def hold(slots: Slots, runs: Runs, *names: str) -> None:
    for name in names:
        runs.gates[name] = threading.Event()
        slots.add(attempt(name))
        runs.wait(lambda name=name: name in runs.started)  # type: ignore[misc]


def test_no_more_than_the_slots_run(slots: Slots, runs: Runs) -> None:
    hold(slots, runs, "a", "b")
    assert (slots.free, slots.claimable) == (0, 0)
    slots.add(attempt("c"))
    assert runs.started == ["a", "b"]
    runs.gates["a"].set()
    runs.wait(lambda: "c" in runs.started)


def test_short_runs_let_the_node_claim_ahead(slots: Slots, runs: Runs) -> None:
    slots.add(attempt("short"))
    runs.wait(lambda: slots.free == 2 and runs.started)
    assert slots.claimable == 2, "an idle node claims for its slots only"
    hold(slots, runs, "a")
    assert slots.claimable == 3
    hold(slots, runs, "b")
    assert slots.claimable == 2
    slots.add(attempt("c"))
    assert slots.claimable == 0, "the line is half full: one claim for several runs"


def test_long_runs_forbid_it(slots: Slots, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "AHEAD_BELOW", 0.0)
    slots.add(attempt("run"))
    runs.wait(lambda: slots.free == 2 and runs.started)
    hold(slots, runs, "a", "b")
    assert slots.claimable == 0


def test_attempt_that_waits_too_long_is_handed_out_again(
    slots: Slots, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots.add(attempt("short"))
    runs.wait(lambda: slots.free == 2 and runs.started)
    hold(slots, runs, "a", "b")
    slots.add(attempt("c"))
    assert slots.held_up() == []
    monkeypatch.setattr(slots_module, "AHEAD_PATIENCE", 0.0)
    assert [late.key.job_id for late in slots.held_up()] == ["c"]
    assert slots.claimable == 0, "nothing ahead until a run has ended"
    runs.gates["a"].set()
    runs.wait(lambda: slots.free == 1)
    runs.gates["b"].set()
    runs.wait(lambda: slots.free == 2)
    hold(slots, runs, "d", "e")
    assert "c" not in runs.started
    assert slots.claimable == 2


def test_withdrawn_attempt_does_not_run(slots: Slots, runs: Runs) -> None:
    hold(slots, runs, "a", "b")
    waiting = attempt("c")
    slots.add(waiting)
    assert slots.withdraw(waiting)
    assert not slots.withdraw(waiting)
    for gate in runs.gates.values():
        gate.set()
    runs.wait(lambda: slots.free == 2)
    assert runs.started == ["a", "b"]


def test_fewer_slots_take_hold_as_runs_end(slots: Slots, runs: Runs) -> None:
    hold(slots, runs, "a", "b")
    slots.resize(1)
    slots.add(attempt("c"))
    runs.gates["a"].set()
    runs.wait(lambda: slots._running == 1)
    assert "c" not in runs.started
    runs.gates["b"].set()
    runs.wait(lambda: "c" in runs.started)
