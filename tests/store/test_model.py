"""Every store against the dictionary in model.py: any calls, in any order, with crashes in between.

After every step all that can be seen is compared, and with it the invariants that the fault tests check on real
processes: (a) no job is lost, (b) a job ends once, (c) fences strictly increase, each is granted to one node, and none
of a verified job to a node that gave it a result, (d) the result kept is that of the fence that was current, (e)
counters stay within their limits, (f) what was answered survives a crash, (h) a node's counters are the sum of its
accepted outcomes. (g), slots, is tested in test_claim.py.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.domain.barring import base_of
from broker.domain.words import AttemptOutcome, Failure
from broker.store.base import Store
from broker.store.records.upkeep import SweepPolicy
from store.model import CANCEL_GRACE, GRACE, SLACK, TTL, Model
from support.clock import FakeClock
from support.jobs import PYTHON, RUBY, claim, completion, new_job, register, submit
from support.stores import STORES, Heard

T = TypeVar("T")
NODES = st.sampled_from(["n1", "n2", "n3"])
CLASSES = st.sampled_from([PYTHON, RUBY])
PICK = st.integers(0, 10**6)
POLICY = SweepPolicy(TTL, tombstone_ttl=1e9, idempotency_ttl=1e9, node_retention=1e9, cancel_grace=CANCEL_GRACE)


class StoreMachine(RuleBasedStateMachine):
    """Rules call the store and the model alike; invariants compare them."""

    store_name: str

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.homes = [self.directory]
        self.clock = FakeClock()
        self.model = Model()
        self.refs: list[tuple[str, tuple[str, int]]] = []
        self.serial = 0
        self.heard = Heard()
        self.store = self._open()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._run(self.store.close())
            self.runner.close()
            for home in self.homes:
                shutil.rmtree(home)

    def _open(self) -> Store:
        store = STORES[self.store_name](self.directory)
        self._run(store.open(self.heard))
        self._run(store.resume(self.clock.now(), self.clock.now(), 0.0))
        return store

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    # ---- rules

    @rule(
        class_key=CLASSES,
        rank=st.integers(0, 5),
        retries=st.integers(0, 2),
        retry_on=st.sampled_from(["", "exit", "exit,memory"]),
        delay=st.none() | st.integers(1, 50),
        patience=st.none() | st.integers(1, 200),
        verify=st.sampled_from([(None, None), (None, None), (2, 2), (3, 2), (4, 3)]),
    )
    def submit(
        self,
        class_key: str,
        rank: int,
        retries: int,
        retry_on: str,
        delay: int | None,
        patience: int | None,
        verify: tuple[int | None, int | None],
    ) -> None:
        self.serial += 1
        now = self.clock.now()
        job = new_job(
            f"j{self.serial}",
            class_key=class_key,
            rank=float(rank),
            max_retries=retries,
            retry_on=retry_on,
            created_at=now,
            run_at=None if delay is None else now + delay,
            give_up_at=None if patience is None else now + patience,
            replicas=verify[0],
            quorum=verify[1],
        )
        self._run(submit(self.store, job, now=now))
        self.model.submit(job)

    @rule(node=NODES)
    def register(self, node: str) -> None:
        now = self.clock.now()
        assert self._run(register(self.store, node, now, TTL)) == self.model.register(node, now)

    @precondition(lambda self: self.model.sessions)
    @rule(node=NODES, classes=st.sampled_from([(PYTHON,), (RUBY,), (PYTHON, RUBY)]), wanted=st.integers(1, 3))
    def claim(self, node: str, classes: tuple[str, ...], wanted: int) -> None:
        if node not in self.model.sessions:
            return
        now = self.clock.now()
        classes += tuple(
            sorted(key for key in self.heard.claimable_classes if key != (base := base_of(key)) and base in classes)
        )
        known = self.heard.bounds
        bounds = tuple(known.get(key, float("-inf")) for key in classes)
        jobs = self._run(claim(self.store, node, now, classes, max_jobs=wanted, bounds=bounds, deadline_slack=SLACK))
        expected = self.model.claim(node, classes, wanted, now)
        assert [(job.id, job.attempt, job.fence) for job in jobs] == expected
        self.refs += [(node, (job.id, job.fence)) for job in jobs]

    @precondition(lambda self: self.refs)
    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        node, ref = self._ref(pick)
        now = self.clock.now()
        lost = self._run(self.store.start(node, [ref], now, GRACE))
        assert (not lost) == self.model.start(node, ref, now)

    @precondition(lambda self: self.refs)
    @rule(
        pick=PICK,
        outcome=st.sampled_from([AttemptOutcome.COMPLETED, AttemptOutcome.FAILED, AttemptOutcome.PLATFORM]),
        verdict=st.sampled_from([Failure.EXIT, Failure.MEMORY, Failure.SIGNAL]),
        liar=st.none() | NODES,
        own=st.booleans(),
    )
    def complete(self, pick: int, outcome: AttemptOutcome, verdict: Failure, liar: str | None, own: bool) -> None:
        """Fresh, stale or said before: any attempt that was ever granted, from its own node or another. `own`: its
        output is like no other's."""
        node, ref = self._ref(pick)
        node = liar or node
        failure = verdict if outcome is AttemptOutcome.FAILED else None
        output = f"{node} {ref}" if own else "as everybody"
        now = self.clock.now()
        said = completion(ref[0], ref[1], outcome, failure=failure, output=output)
        (answer,) = self._run(self.store.complete(node, [said], now, TTL))
        assert answer.word == self.model.complete(node, ref, outcome.value, failure, now, output)

    @precondition(lambda self: self.refs)
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        node, ref = self._ref(pick)
        now = self.clock.now()
        released = self._run(self.store.release(node, [ref], now, TTL))
        assert bool(released) == self.model.release(node, ref, now)

    @precondition(lambda self: self.serial)
    @rule(pick=PICK, node_answers=st.booleans())
    def cancel(self, pick: int, node_answers: bool) -> None:
        job_id = f"j{pick % self.serial + 1}"
        now = self.clock.now()
        outcome = self._run(self.store.cancel(job_id, now, TTL, node_answers=node_answers))
        assert (outcome.status if outcome else None) == self.model.cancel(job_id, now, node_answers)

    @rule(node=NODES)
    def lease_ends(self, node: str) -> None:
        now = self.clock.now()
        taken = self._run(self.store.rescue([node], now, TTL))
        assert sorted(taken) == sorted(self.model.rescue(node, now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 80.0, TTL]))
    def time_passes(self, seconds: float) -> None:
        now = self.clock.advance(seconds)
        self._run(self.store.sweep(now, POLICY, frozenset()))
        self.model.sweep(now)

    @rule()
    def crash(self) -> None:
        """The power goes: what lies on the disk at this moment is all that the next store gets."""
        after = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.homes.append(after)
        for file in self.directory.iterdir():
            shutil.copyfile(file, after / file.name)
        self._run(self.store.close())
        self.directory = after
        self.store = self._open()
        self.model.restart(self.clock.now())

    def _wait(self, run_at: float | None) -> float | None:
        """A moment that has come is no moment: when exactly a store promotes is its own affair."""
        return run_at if run_at is not None and run_at > self.clock.now() else None

    def _ref(self, pick: int) -> tuple[str, tuple[str, int]]:
        """Any attempt ever granted, the newest ones the likeliest."""
        return self.refs[-1 - pick % min(len(self.refs), 12)]

    # ---- invariants

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        """(a), (b), (d), (e), (f)."""
        for job_id, expected in self.model.jobs.items():
            result = self._run(self.store.result(job_id))
            assert result is not None, f"{job_id} is lost"
            job = result.job
            assert (job.status, job.failure, job.fence, job.attempt, job.losses, self._wait(job.run_at)) == (
                expected.status,
                expected.failure,
                expected.fence,
                expected.attempt,
                expected.losses,
                self._wait(expected.run_at),
            )
            assert result.output == (expected.output or "")
            if expected.new.quorum:
                assert (job.results or 0, job.equal or 0) == (len(expected.results), expected.equal)
            assert expected.endings <= 1
            assert job.losses <= job.max_retries + 1
            if expected.held:
                assert job.node_id == expected.holder
        for job_id in self.model.deleted:
            assert self._run(self.store.job(job_id)) is None
            assert self._run(self.store.was_deleted(job_id))

    @invariant()
    def every_grant_is_an_attempt(self) -> None:
        """(c), and an attempt is open exactly while it holds its job."""
        for job_id, expected in self.model.jobs.items():
            attempts = self._run(self.store.attempts(job_id))
            assert {attempt.fence: attempt.node_id for attempt in attempts} == expected.granted
            gave = [attempt.node_id for attempt in attempts if attempt.result_digest is not None]
            assert sorted(gave) == sorted(expected.results), "one result a node"
            still_open = [attempt.fence for attempt in attempts if attempt.ended_at is None]
            assert still_open == ([expected.fence] if expected.held else [])

    @invariant()
    def nodes_and_totals_add_up(self) -> None:
        """(h)."""
        for node in self._run(self.store.nodes()):
            assert [node.jobs_completed, node.jobs_failed] == self.model.counters[node.id]
            held = {attempt.job_id for attempt in self._run(self.store.held_by(node.id))}
            assert held == {job.new.id for job in self.model.jobs.values() if job.held and job.holder == node.id}
        pending = [job for job in self.model.jobs.values() if job.status == "pending"]
        assert self.serial + self.heard.flow_changes == len(pending), "every submitted job was pending once"
        counted = dict.fromkeys(self.store.totals(), 0)
        for job in self.model.jobs.values():
            counted[job.status] += 1
        assert self.store.totals() == counted

    @invariant()
    def no_wake_up_is_lost(self) -> None:
        """Whoever listens to the store's news knows every class that has a claimable job."""
        claimable = {
            job.class_key for job in self.model.jobs.values() if job.status == "pending" and job.run_at is None
        }
        assert claimable <= self.heard.claimable_classes


@pytest.mark.parametrize("name", sorted(STORES))
def test_store_behaves_like_the_model(name: str) -> None:
    machine: Any = type(f"{name.title()}Machine", (StoreMachine,), {"store_name": name})
    machine.TestCase.settings = settings(
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine.TestCase().runTest()
