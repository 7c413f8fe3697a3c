"""A real agent between a fake broker and a fake sandrun: jobs run and their results are delivered."""

import json
from pathlib import Path

from agent.liveness import problem_of
from support.waiting import wait_until
from unit.agent.conftest import StartAgent
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


def test_health_file_follows_the_agent(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, tmp_path: Path
) -> None:
    broker.lease = 3
    live = tmp_path / "live.json"
    assert problem_of(live) == "no agent runs here"
    agent = start_agent()
    wait_until(lambda: live.exists() and problem_of(live) == "", what="healthy")
    sandrun.stop()
    wait_until(lambda: problem_of(live) == "sandrun does not answer", what="sandrun's end is noticed")
    sandrun.start()
    wait_until(lambda: problem_of(live) == "", what="healthy again")
    broker.reject_beats = True
    wait_until(lambda: "longer than the lease" in problem_of(live), what="the lease's end is noticed")
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
