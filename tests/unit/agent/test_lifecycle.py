"""A real agent between a fake broker and a fake sandrun: what happens to jobs when all is well, and when it is not."""

import json
import threading
import time
from pathlib import Path

import pytest

from agent.backoff import Backoff
from agent.liveness import problem_of
from unit.agent.conftest import StartAgent, TestClock, kill
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun


def test_job_runs_and_its_result_is_delivered(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "echo hello\nerr oops\nexit 7", args=["x"], memory_mb=64, attempt=0)
    start_agent()
    result = broker.wait_status("a", "failed")["result"]
    assert (result["output"], result["error"], result["exit_code"]) == ("hello\n", "oops\n", 7)
    assert result["failure"] == "exit"
    assert result["usage"] == {"wall_seconds": 0.0, "cpu_seconds": 0.01, "memory_peak_bytes": 1000}
    manifest = sandrun.submissions[0]["manifest"]
    assert manifest == {
        "entrypoint": "main.py",
        "interpreter": "python3",
        "args": ["x"],
        "timeout": 30,
        "memory_mb": 64,
    }


def test_files_that_no_sandrun_takes_are_the_jobs_own_fault(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    sandrun.refuse["/submit"] = [
        (400, {"error": "x.tgz: not a readable archive", "reason": "bad_upload"}),
        (400, {"error": "memory_mb: this node's maximum"}),
    ]
    start_agent()
    broker.submit("wrong")
    result = broker.wait_status("wrong", "failed")["result"]
    assert (result["failure"], result["message"]) == ("rejected", "x.tgz: not a readable archive")
    broker.submit("elsewhere")
    broker.wait_for(lambda: any(said["job_id"] == "elsewhere" for said in broker.completions))
    assert broker.completions[-1]["failure"] == "platform"


def test_registration_tells_what_the_node_has(
    broker: FakeBroker, start_agent: StartAgent, sandrun: FakeSandrun
) -> None:
    start_agent(region="eu", labels={"disk": "ssd"}, name="n1")
    broker.wait_for(lambda: broker.registrations)
    said = broker.registrations[0]
    assert said["endpoint"] == sandrun.url
    assert (said["slots"], said["name"]) == (2, "n1")
    capabilities = said["capabilities"]
    assert capabilities["interpreters"] == ["bash", "python3"]
    assert capabilities["interpreter_versions"]["python3"] == "3.11.2"
    assert (capabilities["region"], capabilities["labels"]) == ("eu", {"disk": "ssd"})
    assert capabilities["cpu_cores"] >= 1
    assert capabilities["memory_gb"] > 0
    assert capabilities["gpu"] is False


def test_many_jobs_flow_through_two_slots(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    for number in range(60):
        broker.submit(f"j{number}", f"echo {number}")
    start_agent()
    for number in range(60):
        assert broker.wait_status(f"j{number}", "completed")["result"]["output"] == f"{number}\n"
    assert len(broker.completions) == 60


def test_no_more_jobs_than_slots_are_held(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    for number in range(5):
        broker.submit(f"j{number}", "hang")
    start_agent()
    broker.wait_for(lambda: len(broker.started) == 2)
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert len(sandrun.submissions) == 2
    assert broker.beats[-1]["free_slots"] == 0


def test_short_jobs_are_not_announced(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("short")
    start_agent()
    broker.wait_status("short", "completed")
    broker.submit("long", "sleep 0.5")
    broker.wait_status("long", "completed")
    assert broker.started == ["long"]


def test_lost_claim_answer_is_asked_for_again(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lose["/claim"] = 1
    broker.submit("a")
    start_agent()
    job = broker.wait_status("a", "completed")
    assert (job["attempt"], job["fence"]) == (1, 1)


def test_lost_complete_answer_is_delivered_once_more(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lose["/complete"] = 2
    broker.submit("a")
    agent = start_agent()
    broker.wait_status("a", "completed")
    assert agent.parts.outbox.wait_empty(5)
    assert len(broker.completions) == 3
    assert agent.parts.attempts.held()[1] == []


def test_results_wait_while_the_broker_is_away(broker: FakeBroker, start_agent: StartAgent, tmp_path: Path) -> None:
    broker.lease = 60
    broker.submit("a", "sleep 0.6\necho done")
    agent = start_agent(state_dir=tmp_path / "state")
    broker.wait_for(lambda: broker.started)
    broker.stop()
    wait_until(lambda: list((tmp_path / "state" / "spool").iterdir()), "the result is on disk")
    broker.start()
    assert broker.wait_status("a", "completed")["result"]["output"] == "done\n"
    assert agent.parts.outbox.wait_empty(5)
    wait_until(lambda: not list((tmp_path / "state" / "spool").iterdir()), "nothing is left on the disk")


def test_killed_agents_result_is_delivered_by_its_successor(
    broker: FakeBroker, start_agent: StartAgent, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    broker.lease = 60
    broker.submit("a", "sleep 0.4\necho first run")
    first = start_agent(state_dir=state)
    broker.wait_for(lambda: broker.started)
    broker.stop()
    wait_until(lambda: list((state / "spool").iterdir()), "the result is on disk")
    kill(first)
    first.parts.outbox.tidy(0)
    first.folder.close()
    broker.start()
    start_agent(state_dir=state)
    job = broker.wait_status("a", "completed")
    assert (job["result"]["output"], job["fence"]) == ("first run\n", 1)
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert broker.registrations[1]["node_id"] == "node-1"


def test_cancel_by_link_ends_the_run(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.lease = 60
    broker.submit("a", "echo partial\nhang")
    start_agent()
    broker.wait_for(lambda: broker.started and broker.links)
    broker.tell({"type": "cancel", "job_id": "a", "fence": 1})
    result = broker.wait_status("a", "failed", timeout=2)["result"]
    assert (result["failure"], result["output"]) == ("cancelled", "partial\n")
    assert sandrun.cancelled


def test_cancel_by_beat_ends_the_run(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    broker.cancels = [{"job_id": "a", "fence": 1}]
    assert broker.wait_status("a", "failed")["result"]["failure"] == "cancelled"


def test_lost_attempt_is_killed_and_not_reported(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "hang", interpreter="python3")
    start_agent()
    broker.wait_for(lambda: broker.started and broker.links)
    with broker.lock:
        broker.jobs["a"].update(status="completed", holder="somebody else", fence=2)
    broker.tell({"type": "lost", "job_id": "a", "fence": 1})
    sandrun.wait_for(lambda: sandrun.cancelled)
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.completions == []
    assert broker.beats[-1]["held"] == []


def test_silent_broker_ends_the_lease_and_the_runs(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, clock: TestClock
) -> None:
    broker.submit("a", "hang")
    agent = start_agent()
    broker.wait_for(lambda: broker.started)
    broker.reject_beats = True
    sandrun.wait_for(lambda: sandrun.cancelled, timeout=broker.lease + 2)
    assert broker.completions == []
    assert agent.parts.attempts.open() == []


def test_what_a_lost_claim_brought_goes_back_when_the_lease_is_over(
    broker: FakeBroker, start_agent: StartAgent
) -> None:
    """Beats go on renewing the lease at the broker, which cannot know that nobody runs the job."""
    start_agent()
    broker.wait_for(lambda: broker.links and broker.calls["/claim"])
    broker.mute = True
    broker.submit("a")
    broker.wait_for(lambda: broker.status("a") == "assigned")
    broker.wait_for(lambda: broker.status("a") == "pending", timeout=broker.lease + 3)
    broker.mute = False
    broker.wait_status("a", "completed")


def test_zombie_kills_its_runs_when_it_wakes(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, clock: TestClock
) -> None:
    """A suspended node wakes long after its lease: the boot clock has gone on, and the runs go before anything else."""
    broker.lease = 600
    broker.submit("a", "hang")
    agent = start_agent()
    broker.wait_for(lambda: broker.started)
    broker.take_back("a")
    broker.jobs["a"]["status"] = "elsewhere"
    clock.ahead = 10_000
    sandrun.wait_for(lambda: sandrun.cancelled, timeout=3)
    assert agent.parts.attempts.open() == []
    assert broker.completions == []
    # It beats at once, and with a good answer the node works again.
    broker.submit("b")
    broker.wait_status("b", "completed")


def test_broker_that_forgot_the_node_gets_a_new_registration(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    broker.stop()
    broker.nodes.clear()
    broker.jobs.clear()
    broker.start()
    broker.submit("b")
    broker.wait_status("b", "completed")
    assert len(broker.registrations) == 2


def test_ended_session_kills_runs_and_registers_again(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    with broker.changed:
        broker.nodes["node-1"]["session"] = "taken over"
        broker.jobs["a"].update(status="completed", holder=None)
        broker.changed.notify_all()
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert broker.registrations[1]["secret"] == "secret-node-1"
    sandrun.wait_for(lambda: sandrun.cancelled)
    broker.submit("b")
    broker.wait_status("b", "completed")


def test_sandrun_crash_is_nobodys_fault_and_work_goes_on(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    broker.lease = 60
    broker.submit("a", "sleep 1.5\necho second time")
    start_agent()
    broker.wait_for(lambda: broker.started)
    sandrun.restart()
    job = broker.wait_status("a", "completed")
    assert (job["fence"], job["result"]["output"]) == (2, "second time\n")
    assert "platform" in job


def test_no_claims_while_sandrun_is_down(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    broker.submit("a")
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.status("a") == "pending"
    sandrun.start()
    broker.wait_status("a", "completed")


def test_hanging_sandrun_is_noticed(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sandrun_client.HEALTH_TIMEOUT", 0.3)
    monkeypatch.setattr("agent.sandrun_watch.HEALTH_EVERY", 0.2)
    broker.lease = 60
    broker.submit("a", "hang")
    start_agent()
    broker.wait_for(lambda: broker.started)
    with sandrun.changed:
        sandrun.hanging = True
    broker.wait_for(lambda: broker.completions, timeout=4)
    assert broker.completions[0]["failure"] == "platform"
    broker.wait_status("a", "pending")
    with sandrun.changed:
        sandrun.hanging = False
        sandrun.changed.notify_all()
    broker.wait_status("a", "assigned", "running")


def test_sandrun_that_hangs_over_a_submit_is_noticed_in_seconds(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have the job by now, so the attempt counts; but the job does not wait for the call's own patience."""
    monkeypatch.setattr("agent.sandrun_client.HEALTH_TIMEOUT", 0.3)
    monkeypatch.setattr("agent.sandrun_watch.HEALTH_EVERY", 0.2)
    broker.lease = 60
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    with sandrun.changed:
        sandrun.hanging = True
    broker.submit("a")
    broker.wait_for(lambda: broker.completions or broker.released, timeout=5)
    assert [said["failure"] for said in broker.completions] == ["platform"]
    with sandrun.changed:
        sandrun.hanging = False
        sandrun.changed.notify_all()
    assert broker.wait_status("a", "completed")["attempt"] == 2
    sandrun.wait_for(lambda: sandrun.cancelled == ["job_1"])  # the one that it took while it hung


def test_job_that_finds_sandrun_away_goes_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With files or without: what sandrun never got is no attempt."""
    monkeypatch.setattr("agent.runner.DOWN_SECONDS", 0.1)
    broker.lease = 60
    agent = start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    broker.submit("a")
    broker.wait_for(lambda: broker.released)
    assert broker.completions == []
    sandrun.start()
    assert broker.wait_status("a", "completed")["attempt"] == 1
    assert not agent.crash.happened.is_set()


def test_time_in_sandruns_queue_is_not_the_jobs_time(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two large jobs, memory for one: the second waits inside sandrun, is not announced as started and not ended."""
    monkeypatch.setattr("agent.runner.LIMIT_REPORT", 0.5)
    broker.lease = 60
    sandrun.full = True
    broker.submit("a", "sleep 1.5\necho late", timeout=2)
    start_agent()
    broker.wait_for(lambda: broker.status("a") == "assigned" and sandrun.submissions)
    seen = sandrun.calls["/status/job_1"]
    sandrun.wait_for(lambda: sandrun.calls["/status/job_1"] >= seen + 3)
    assert (broker.status("a"), broker.started) == ("assigned", [])
    sandrun.let_start()
    job = broker.wait_status("a", "completed")
    assert (job["attempt"], job["result"]["output"], broker.started) == (1, "late\n", ["a"])


def test_job_that_waits_too_long_in_sandrun_goes_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runner.QUEUED_SECONDS", 0.5)
    monkeypatch.setattr("agent.lifecycle.BUSY_BASE", 0.5)
    broker.lease = 60
    sandrun.full = True
    broker.submit("a")
    start_agent()
    broker.wait_for(lambda: broker.released)
    assert sandrun.cancelled == ["job_1"]
    sandrun.let_start()
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_busy_sandrun_is_asked_again_within_the_lease(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent
) -> None:
    sandrun.busy = 3
    broker.submit("a")
    start_agent()
    assert broker.wait_status("a", "completed")["attempt"] == 1


def test_busy_for_too_long_gives_the_job_back(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runner.BUSY_SECONDS", 0.5)
    monkeypatch.setattr("agent.lifecycle.BUSY_BASE", 0.5)
    sandrun.busy = 8
    broker.submit("a")
    start_agent()
    job = broker.wait_status("a", "completed", timeout=20)
    assert broker.released
    assert job["attempt"] == 1


def test_refused_job_is_a_platform_failure(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    sandrun.refuse["/submit"] = [(400, {"error": "no interpreter 'cobol'"})]
    broker.submit("a", interpreter="cobol")
    start_agent()
    assert "no interpreter 'cobol'" in broker.wait_status("a", "completed")["platform"]


def test_capability_change_registers_again(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.calls["/claim"])
    sandrun.stop()
    sandrun.interpreters["ruby"] = "3.3"
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    sandrun.start()
    broker.wait_for(lambda: len(broker.registrations) == 2)
    assert "ruby" in broker.registrations[1]["capabilities"]["interpreters"]
    broker.submit("a")
    broker.wait_status("a", "completed")


def test_broken_link_is_opened_again_with_a_beat(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lease = 60
    start_agent()
    broker.wait_for(lambda: broker.links)
    count = len(broker.beats)
    broker.break_links()
    broker.wait_for(lambda: broker.links, timeout=2)
    broker.wait_for(lambda: len(broker.beats) > count)


def test_beat_proves_life_while_the_link_does_not_come_back(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.lease = 60
    start_agent()
    broker.wait_for(lambda: broker.links)
    count = len(broker.beats)
    broker.refuse["/link"] = [(503, {"error": "x", "reason": "overloaded"})] * 100
    broker.break_links()
    broker.wait_for(lambda: len(broker.beats) > count, timeout=2)


def test_returned_broker_is_not_kept_waiting(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims and results that had been put off for long are sent as soon as the link is open again."""
    for part in ("claimer", "delivery"):
        monkeypatch.setattr(f"agent.{part}.Backoff", lambda base, cap: Backoff(20, 30))
    away = (503, {"error": "x", "reason": "stopping"})
    broker.lease = 60
    broker.submit("a")
    broker.refuse["/complete"] = [away]
    start_agent()
    broker.wait_for(lambda: broker.calls["/complete"] and broker.links)
    broker.refuse["/claim"] = [away]
    broker.submit("b")  # ends the claim that hangs; the next one is refused
    broker.wait_for(lambda: not broker.refuse["/claim"])
    broker.submit("c")
    broker.break_links()
    assert broker.wait_status("a", "completed", timeout=5)["attempt"] == 1
    assert broker.wait_status("c", "completed", timeout=5)["attempt"] == 1


def test_drain_lets_running_jobs_end(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.submit("a", "sleep 1\necho done")
    agent = start_agent()
    broker.wait_for(lambda: broker.started)
    broker.submit("b", "hang")
    broker.submit("c", "hang")
    sandrun.wait_for(lambda: len(sandrun.submissions) == 2)
    began = time.monotonic()
    agent.drain()
    assert broker.status("a") == "completed"
    assert {release["job_id"] for release in broker.released} == {"b"}
    assert broker.jobs["b"]["attempt"] == 0
    assert broker.status("c") == "pending"
    assert 1.8 < time.monotonic() - began < 6
    assert agent.stopped.is_set()
    assert broker.beats[-1]["held"] == []
    assert broker.beats[-1]["draining"] is True


def test_second_signal_hurries(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.submit("a", "hang")
    agent = start_agent(drain_seconds=60)
    broker.wait_for(lambda: broker.started)
    drain = threading.Thread(target=agent.drain)
    drain.start()
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["draining"])
    agent.hurry()
    drain.join(5)
    assert not drain.is_alive()
    assert [release["job_id"] for release in broker.released] == ["a"]
    assert sandrun.cancelled


def test_drain_while_the_broker_is_away_keeps_results(
    broker: FakeBroker, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.lease = 60
    broker.submit("a", "sleep 0.5")
    agent = start_agent(state_dir=tmp_path / "state", leave_seconds=3)
    broker.wait_for(lambda: broker.started)
    broker.stop()
    agent.drain()
    assert len(list((tmp_path / "state" / "spool").iterdir())) == 1


def test_drain_ends_in_time_whatever_hangs(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk and the last beat: whoever started the agent kills it when its time is over."""
    agent = start_agent(leave_seconds=3)
    broker.wait_for(lambda: broker.links)
    hung, hangs = threading.Semaphore(0), threading.Event()

    def hang(*_: object, **__: object) -> None:
        hung.release()
        hangs.wait(30)

    monkeypatch.setattr(agent.parts.outbox, "tidy", hang)
    monkeypatch.setattr(agent, "_last_beat", hang)
    drain = threading.Thread(target=agent.drain)
    drain.start()
    drain.join(15)
    ended = not drain.is_alive()
    tried = [hung.acquire(timeout=5) for _ in range(2)]
    hangs.set()
    drain.join(30)
    assert ended
    assert all(tried), "both were tried"


def test_broker_drains_and_resumes_the_node(broker: FakeBroker, start_agent: StartAgent) -> None:
    start_agent()
    broker.wait_for(lambda: broker.links)
    with broker.changed:
        broker.drain = True
        broker.changed.notify_all()
    broker.tell({"type": "drain"})
    broker.wait_for(lambda: broker.beats and broker.beats[-1]["free_slots"] == 0)
    broker.submit("a")
    count = len(broker.beats)
    broker.wait_for(lambda: len(broker.beats) >= count + 2)
    assert broker.status("a") == "pending"
    broker.drain = False
    broker.tell({"type": "resume"})
    broker.wait_status("a", "completed")


def test_health_file_follows_the_agent(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    live = tmp_path / "live.json"
    assert problem_of(live) == "no agent runs here"
    agent = start_agent()
    wait_until(lambda: live.exists() and problem_of(live) == "", "healthy")
    sandrun.stop()
    wait_until(lambda: problem_of(live) == "sandrun does not answer", "sandrun's end is noticed")
    sandrun.start()
    wait_until(lambda: problem_of(live) == "", "healthy again")
    broker.reject_beats = True
    wait_until(lambda: "longer than the lease" in problem_of(live), "the lease's end is noticed")
    broker.reject_beats = False
    agent.drain()
    assert not live.exists()


def test_unreadable_job_is_answered_for(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.submit("a", args="not a list but text")
    broker.submit("b", env=["not", "an", "object"])
    start_agent()
    broker.wait_for(lambda: "platform" in broker.jobs["b"])
    assert "cannot be read" in broker.jobs["b"]["platform"]
    broker.jobs["b"]["env"] = {}
    broker.wait_status("b", "completed")


def wait_until(condition: object, what: str, timeout: float = 10.0) -> None:
    """Poll something that no condition variable guards (files)."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    waiter = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        waiter.wait(0.02)


def test_a_new_node_keeps_its_key_until_it_is_answered(broker: FakeBroker, start_agent: StartAgent) -> None:
    lost = broker.lose["/register"] = 3
    start_agent()
    broker.wait_for(lambda: len(broker.registrations) > lost and broker.beats)
    first, *others = (said["idempotency_key"] for said in broker.registrations)
    assert others == [first] * lost
    assert len(first) >= 32
    with broker.changed:
        broker.nodes.clear()  # its database is gone: the agent becomes a new node, by a new key
    broker.wait_for(lambda: len(broker.registrations) > lost + 1)
    assert broker.registrations[-1]["idempotency_key"] != first


def test_a_claim_with_far_too_many_jobs_is_cut(broker: FakeBroker, start_agent: StartAgent) -> None:
    """No broker answers so. What is left out is not listed by the next beat, which gives it back."""
    many = [{"id": f"m{number}", "fence": 1, "code": "hang", "timeout": 30} for number in range(100_000)]
    body = json.dumps({"job": None, "jobs": many}).encode()
    broker.raw["/claim"] = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]
    broker.submit("a")
    start_agent()
    broker.wait_for(lambda: any(beat["held"] for beat in broker.beats))
    broker.wait_status("a", "completed")
    assert max(len(beat["held"]) for beat in broker.beats) <= 64
