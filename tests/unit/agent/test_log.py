"""What a real agent logs, and by which ids its calls are found."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from agent.logs import configure
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun

Lines = Callable[[], list[dict[str, Any]]]
MADE = re.compile(r"[0-9a-f]{10}-[0-9a-f]+")
FORGED = 'x\n{"event": "forged", "source": "agent"}\r\x1b[31m\u2028'


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Everything that was logged, most talkative; each line is JSON of printable characters."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    writer = configure("debug", "json")

    def read() -> list[dict[str, Any]]:
        assert writer.drain(10)
        printed = stream.getvalue().splitlines()
        assert all(char.isprintable() for line in printed for char in line)
        said = [json.loads(line) for line in printed]
        assert all(char.isprintable() for line in said for value in line.values() for char in str(value))
        assert all({"time", "level", "event", "source"} <= line.keys() for line in said)
        return said

    return read


def test_secrets_and_code_stay_out(broker: FakeBroker, start_agent: StartAgent, lines: Lines) -> None:
    broker.submit("a", "echo TOPSECRETCODE")
    agent = start_agent()
    broker.wait_status("a", "completed")
    agent.drain()
    said = lines()
    assert "TOPSECRETCODE" not in str(said)
    assert "secret-node-1" not in str(said)
    assert {"registered", "attempt_ended", "draining", "drained"} <= {line["event"] for line in said}
    (ended,) = [line for line in said if line["event"] == "attempt_ended"]
    assert (ended["job"], ended["fence"], ended["attempt"], ended["request"]) == ("a", 1, 1, "a.1")
    assert ended["node"] == next(line["node"] for line in said if line["event"] == "registered")


def test_sandrun_and_the_log_are_told_by_which_request_a_job_came(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, lines: Lines
) -> None:
    broker.submit("a", request_id="nightly-8")
    broker.submit("b", request_id="forged\r\nX-Evil: 1")
    agent = start_agent()
    for job in "ab":
        broker.wait_status(job, "completed")
    agent.drain()
    assert sorted(said or "" for path, said in sandrun.submit_requests if path == "/submit") == ["", "nightly-8"]
    life = [line for line in lines() if line.get("submit_request") == "nightly-8"]
    assert {line["job"] for line in life} == {"a"}
    events = [line["event"] for line in life]
    assert [event for event in events if event.startswith("attempt_")] == ["attempt_started", "attempt_ended"]
    assert all({"attempt", "fence", "node"} <= line.keys() for line in life if line["event"].startswith("attempt_"))


def test_what_others_say_begins_no_line(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, lines: Lines
) -> None:
    sandrun.refuse["/submit"] = [(400, {"error": FORGED}), (400, {"error": FORGED})]
    broker.submit(FORGED)
    broker.submit("b", interpreter=FORGED)
    broker.refuse["/heartbeat"] = [(500, {"error": FORGED})]
    broker.refuse["/start"] = [(422, {"error": FORGED, "reason": FORGED})]
    agent = start_agent()
    broker.wait_for(lambda: len(broker.completions) >= 2)
    agent.drain()
    said = lines()
    assert not [line for line in said if line["event"] == "forged"]
    assert [line for line in said if "forged" in str(line)], "it was said, as a value"


def test_each_call_has_an_id(broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent) -> None:
    broker.submit("a")
    agent = start_agent()
    broker.wait_status("a", "completed")
    agent.drain()
    about_it = [said for path, said in sandrun.request_ids if path.startswith(("/submit", "/status"))]
    assert about_it
    assert set(about_it) == {"a.1"}
    others = [said for path, said in broker.request_ids + sandrun.request_ids if said != "a.1"]
    assert all(said and MADE.fullmatch(said) for said in others)
    assert {path for path, _ in broker.request_ids} >= {"/register", "/claim", "/link", "/complete"}


def test_a_failed_call_is_logged_with_its_id(broker: FakeBroker, start_agent: StartAgent, lines: Lines) -> None:
    broker.refuse["/register"] = [(503, {"error": "not now"})]
    start_agent()
    broker.wait_for(lambda: broker.registrations)
    refused = next(said for path, said in broker.request_ids if path == "/register")
    (line,) = [line for line in lines() if line["event"] == "broker_away"]
    assert f"(request {refused})" in line["error"]
