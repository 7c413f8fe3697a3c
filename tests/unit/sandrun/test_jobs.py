"""Slots, queue, retention, rate limits and the guard: the life of jobs without any sandbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandrun.jobs.guard import MemoryGuard
from sandrun.jobs.job import Job, JobStatus, new_job_id
from sandrun.jobs.pool import PoolClosedError, QueueFullError, SlotPool
from sandrun.jobs.rates import RateExceededError, RateLimiter
from sandrun.jobs.runner import JobRunner
from sandrun.jobs.store import JobStore
from sandrun.sandbox.container import ContainerMemory
from sandrun.sandbox.launcher import ProgramEnd
from sandrun.sandbox.spec import MIB, Failure, InputFile, Outcome
from support.waiting import wait_until
from unit.sandrun.builders import SETTINGS, FakeLauncher, FakeSandbox, a_job, a_platform

SECONDS = 60.0


class Gatekeeper:
    """Runs jobs that end when the test says so."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.release: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def __call__(self, job: Job) -> Outcome:
        with self._lock:
            self.started.append(job)
            event = self.release.setdefault(job.id, threading.Event())
        cancel = job.open_cancel()
        assert cancel >= 0
        try:
            deadline = time.monotonic() + SECONDS
            while not event.wait(0.005) and time.monotonic() < deadline:
                if job._cancelled:
                    return Outcome(failure=Failure.CANCELLED)
            return Outcome()
        finally:
            job.close_cancel()

    def end(self, job: Job) -> None:
        with self._lock:
            self.release.setdefault(job.id, threading.Event()).set()


@pytest.fixture
def keeper() -> Gatekeeper:
    return Gatekeeper()


@pytest.fixture
def make_pool(keeper: Gatekeeper) -> Iterator[Callable[..., SlotPool]]:
    made: list[SlotPool] = []

    def make(slots: int = 2, queue: int = 2, queue_bytes: int = 1000, memory_bytes: int | None = None) -> SlotPool:
        pool = SlotPool(slots, queue, queue_bytes, keeper, memory_bytes)
        pool.start()
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.stop(SECONDS)


class TestPool:
    def test_jobs_run_in_order_and_at_once_up_to_the_slots(
        self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper
    ) -> None:
        pool = make_pool()
        jobs = [a_job() for _ in range(4)]
        assert [pool.submit(job) for job in jobs[:2]] == [0, 0]
        wait_until(lambda: len(keeper.started) == 2)
        assert [pool.submit(job) for job in jobs[2:]] == [1, 2]
        assert (pool.counts(), pool.free()) == ((2, 2), 0)
        assert [pool.position(job) for job in jobs[2:]] == [1, 2]
        keeper.end(jobs[0])
        wait_until(lambda: jobs[0].status is JobStatus.COMPLETED)
        wait_until(lambda: len(keeper.started) == 3)
        assert keeper.started[2] is jobs[2]

    def test_the_queue_is_bounded(self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper) -> None:
        pool = make_pool()
        for _ in range(4):
            pool.submit(a_job())
        with pytest.raises(QueueFullError):
            pool.submit(a_job())

    def test_waiting_bytes_are_bounded(self, make_pool: Callable[..., SlotPool]) -> None:
        pool = make_pool()
        with pytest.raises(QueueFullError):
            pool.submit(a_job(files=(InputFile("main.py", bytes(2000)),)))

    def test_cancelling_what_waits(self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper) -> None:
        pool = make_pool(slots=1)
        first, second = a_job(), a_job()
        pool.submit(first)
        pool.submit(second)
        wait_until(lambda: keeper.started == [first])
        pool.cancel(second)
        assert second.status is JobStatus.FAILED
        assert second.outcome is not None
        assert second.outcome.failure is Failure.CANCELLED
        assert pool.counts()[0] == 0

    def test_cancelling_what_runs_and_what_has_ended(
        self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper
    ) -> None:
        pool = make_pool()
        job = a_job()
        pool.submit(job)
        wait_until(lambda: keeper.started == [job])
        pool.cancel(job)
        wait_until(lambda: job.status is JobStatus.FAILED)
        pool.cancel(job)

    def test_memory_promised_to_running_jobs_is_bounded(
        self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper
    ) -> None:
        pool = make_pool(slots=3, queue=5, memory_bytes=1024 * MIB)
        big, other, small = a_job(memory_mb=800), a_job(memory_mb=800), a_job(memory_mb=100)
        assert [pool.submit(job) for job in (big, other, small)][1:] == [1, 2]
        wait_until(lambda: keeper.started == [big])
        assert pool.counts() == (2, 1)  # arrival order holds: the small one does not overtake
        keeper.end(big)
        wait_until(lambda: len(keeper.started) == 3)

    def test_a_job_bigger_than_all_there_is_runs_alone(
        self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper
    ) -> None:
        pool = make_pool(memory_bytes=100 * MIB)
        job = a_job(memory_mb=500)
        assert pool.submit(job) == 0
        wait_until(lambda: keeper.started == [job])

    def test_a_fault_of_ours_is_no_verdict_and_takes_no_slot(self) -> None:
        def fail(job: Job) -> Outcome:
            raise RuntimeError("a bug")

        pool = SlotPool(1, 5, 1000, fail)
        pool.start()
        jobs = [a_job(), a_job()]
        for job in jobs:
            pool.submit(job)
        wait_until(lambda: all(job.status.terminal for job in jobs))
        assert [job.outcome.failure for job in jobs if job.outcome] == [Failure.PLATFORM] * 2
        pool.stop(SECONDS)

    def test_stopping_ends_everything(self, make_pool: Callable[..., SlotPool], keeper: Gatekeeper) -> None:
        pool = make_pool(slots=1)
        jobs = [a_job(), a_job()]
        for job in jobs:
            pool.submit(job)
        wait_until(lambda: keeper.started == jobs[:1])
        pool.stop(SECONDS)
        assert all(job.status is JobStatus.FAILED for job in jobs)
        assert jobs[0].evicted == "the node is stopping"
        assert jobs[1].outcome is not None
        assert jobs[1].outcome.failure is Failure.PLATFORM  # another node may run it
        with pytest.raises(PoolClosedError):
            pool.submit(a_job())


class TestRunner:
    def run(
        self, launcher: FakeLauncher, container: ContainerMemory | None = None, **fields: object
    ) -> tuple[Job, Outcome]:
        job = a_job(**fields)  # type: ignore[arg-type]
        runner = JobRunner(launcher, a_platform().interpreters, lambda job, sandbox: None, container)
        return job, runner(job)

    def test_a_sandbox_that_cannot_be_built_is_the_platforms_fault(self) -> None:
        launcher = FakeLauncher()
        launcher.fails = "Can't mount proc"
        _, outcome = self.run(launcher)
        assert (outcome.failure, "Can't mount proc" in (outcome.message or "")) == (Failure.PLATFORM, True)

    def test_the_environment_has_what_a_program_expects_and_a_manifest_cannot_move_it(self) -> None:
        launcher = FakeLauncher()
        self.run(launcher, env={"HOME": "/root", "PATH": "/evil", "MINE": "1", "LANG": "de"})
        env = launcher.started[0].env
        assert (env["HOME"], env["MINE"], env["LANG"]) == ("/job", "1", "de")
        assert env["PATH"].startswith("/usr/local/bin:/usr/bin")

    def test_loader_settings_are_for_the_program_not_for_our_shell(self) -> None:
        launcher = FakeLauncher()
        self.run(launcher, env={"LD_PRELOAD": "/job/x.so"}, args=["a"])
        spec = launcher.started[0]
        assert "LD_PRELOAD" not in spec.env
        assert tuple(spec.command) == ("/usr/bin/env", "LD_PRELOAD=/job/x.so", "/usr/bin/python3", "main.py", "a")

    def test_an_entrypoint_that_looks_like_an_option_is_a_file(self) -> None:
        interpreter = a_platform().interpreters["python3"]
        assert interpreter.command("-c", ("x",), MIB) == ("/usr/bin/python3", "./-c", "x")

    def test_nodes_heap_is_as_big_as_the_limit(self) -> None:
        command = a_platform().interpreters["node"].command("a.js", (), 300 * MIB)
        assert command == ("/usr/local/bin/node", "--max-old-space-size=300", "a.js")

    def test_everything_is_given_back(self) -> None:
        launcher = FakeLauncher()
        self.run(launcher)
        assert launcher.sandboxes[0].closed

    def test_an_evicted_job_is_the_platforms_fault(self) -> None:
        launcher = FakeLauncher(lambda code: FakeSandbox(end=None))
        job = a_job()
        job.evict("no memory")
        outcome = JobRunner(launcher, a_platform().interpreters, lambda job, sandbox: None)(job)
        assert (outcome.failure, outcome.message) == (Failure.PLATFORM, "no memory")

    def test_a_kill_by_the_kernel_is_the_platforms_fault(self, tmp_path: Path) -> None:
        container = a_container(tmp_path)

        def killed(code: bytes) -> FakeSandbox:
            return FakeSandbox(end=ProgramEnd(signal=9), on_go=lambda box: set_kills(tmp_path, 1))

        _, outcome = self.run(FakeLauncher(killed), container)
        assert outcome.failure is Failure.PLATFORM

    def test_a_kill_by_the_job_itself_is_a_signal(self, tmp_path: Path) -> None:
        _, outcome = self.run(FakeLauncher(lambda code: FakeSandbox(end=ProgramEnd(signal=9))), a_container(tmp_path))
        assert outcome.failure is Failure.SIGNAL


def a_container(directory: Path, used: int = 0) -> ContainerMemory:
    (directory / "memory.max").write_text("1000")
    (directory / "memory.current").write_text(str(used))
    (directory / "memory.stat").write_text("anon 1\n")
    set_kills(directory, 0)
    found = ContainerMemory.find(directory)
    assert found is not None
    return found


def set_kills(directory: Path, number: int) -> None:
    (directory / "memory.events").write_text(f"oom_kill {number}\n")


class TestGuard:
    def test_the_largest_job_goes_when_memory_runs_out(self, tmp_path: Path) -> None:
        small, large = a_job(), a_job()
        small.memory_now, large.memory_now = 10, 20
        assert MemoryGuard(a_container(tmp_path, used=950), lambda: [small, large]).check()
        assert (small.evicted, large.evicted is None) == (None, False)

    def test_nobody_goes_before(self, tmp_path: Path) -> None:
        job = a_job()
        assert not MemoryGuard(a_container(tmp_path, used=900), lambda: [job]).check()
        assert not MemoryGuard(a_container(tmp_path, used=950), list).check()
        assert job.evicted is None

    def test_its_thread_ends(self, tmp_path: Path) -> None:
        guard = MemoryGuard(a_container(tmp_path), list)
        guard.start()
        guard.stop()


class TestStore:
    def ended(self, store: JobStore, finished: float, printed: int = 0) -> Job:
        job = a_job()
        job.finished = finished
        job.stdout.append(bytes(printed))
        store.add(job)
        return job

    def test_a_finished_job_goes_when_its_time_is_over(self) -> None:
        gone: list[Job] = []
        store = JobStore(60, 100, 1 << 30, gone.append, most_stored=1 << 30)
        old, young, running = self.ended(store, 100.0), self.ended(store, 140.0), a_job()
        store.add(running)
        assert store.sweep(170.0) == 1
        assert (gone, store.get(old.id)) == ([old], None)
        assert store.get(young.id) is young
        assert store.get(running.id) is running

    def test_the_oldest_go_first_when_there_are_too_many(self) -> None:
        store = JobStore(1000, 3, 1 << 30, lambda job: None, most_stored=1 << 30)
        jobs = [self.ended(store, float(number)) for number in range(5)]
        assert store.sweep(20.0) == 2
        assert [store.get(job.id) is None for job in jobs] == [True, True, False, False, False]

    def test_or_too_much_to_keep(self) -> None:
        store = JobStore(1000, 100, 2500, lambda job: None, most_stored=1 << 30)
        jobs = [self.ended(store, float(number), printed=1000) for number in range(4)]
        assert store.sweep(20.0) == 2
        assert [store.get(job.id) is None for job in jobs] == [True, True, False, False]

    def test_a_result_can_be_fetched_before_it_goes(self) -> None:
        store = JobStore(1000, 100, 2500, lambda job: None, most_stored=1 << 30)
        jobs = [self.ended(store, float(number), printed=1000) for number in range(4)]
        assert store.sweep(9.0) == 0
        more = [self.ended(store, 9.0, printed=1000) for _ in range(2)]
        assert store.sweep(9.0) == 1  # far too much: the oldest goes at once
        assert [store.get(job.id) is None for job in (*jobs, *more)] == [True, False, False, False, False, False]

    def test_forgetting_twice_is_harmless(self) -> None:
        gone: list[Job] = []
        store = JobStore(60, 100, 1 << 30, gone.append, most_stored=1 << 30)
        job = self.ended(store, 1.0)
        store.forget(job)
        store.forget(job)
        assert gone == [job]


class TestRates:
    SETTINGS = replace(SETTINGS, rate_jobs=2, rate_jobs_per_hour=3, rate_cpu_per_minute=10.0)

    def test_off_unless_set_and_off_for_loopback(self) -> None:
        for settings, address in ((SETTINGS, "192.0.2.1"), (self.SETTINGS, "127.0.0.1"), (self.SETTINGS, "::1")):
            RateLimiter(settings).check(address, 999, 0.0)

    def test_on_for_loopback_when_the_operator_says_so(self) -> None:
        with pytest.raises(RateExceededError):
            RateLimiter(replace(self.SETTINGS, rate_loopback=True)).check("127.0.0.1", 2, 0.0)

    def test_jobs_at_once(self) -> None:
        limiter = RateLimiter(self.SETTINGS)
        limiter.check("192.0.2.1", 1, 0.0)
        with pytest.raises(RateExceededError, match="2 of 2 jobs at once") as error:
            limiter.check("192.0.2.1", 2, 0.0)
        assert (error.value.active_jobs, error.value.retry_after) == (2, 1)

    def test_jobs_in_an_hour(self) -> None:
        limiter = RateLimiter(self.SETTINGS)
        for second in range(3):
            limiter.submitted("192.0.2.1", float(second))
        with pytest.raises(RateExceededError, match="3 jobs in an hour") as error:
            limiter.check("192.0.2.1", 0, 100.0)
        assert error.value.retry_after == 3500
        limiter.check("192.0.2.2", 0, 100.0)
        limiter.check("192.0.2.1", 0, 3600.0)

    def test_cpu_in_a_minute(self) -> None:
        limiter = RateLimiter(self.SETTINGS)
        limiter.used("192.0.2.1", 6.0, 0.0)
        assert limiter.quota("192.0.2.1", 0, 1.0).available == 4.0
        limiter.used("192.0.2.1", 5.0, 30.0)
        with pytest.raises(RateExceededError, match="10 CPU seconds") as error:
            limiter.check("192.0.2.1", 0, 40.0)
        assert (error.value.cpu_available, error.value.retry_after) == (0.0, 20)
        limiter.check("192.0.2.1", 0, 60.0)

    def test_clients_that_never_come_back_are_forgotten(self) -> None:
        limiter = RateLimiter(self.SETTINGS)
        for number in range(10_100):
            limiter.submitted(f"client-{number}", 0.0)
        assert len(limiter._clients) == 10_000


def test_ids_cannot_be_guessed() -> None:
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == len("job_") + 32 for each in ids)
