"""What sandrun logs, most talkative, after everybody has tried to write into it; and the ids of its calls."""

import io
import json
import logging
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandrun import logs
from unit.sandrun.builders import FakeLauncher, FakeSandbox
from unit.sandrun.http_node import Node, a_node

Printed = Callable[[], list[str]]
FORGED = 'x\r\n{"event": "forged", "source": "sandrun"} \x1b[31m'


@pytest.fixture(params=["json", "text"])
def form(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def printed(form: str, monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Every line that was logged at debug."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("debug", form)
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.ERROR)  # the tests' own
    monkeypatch.setattr(logging.getLogger("httpcore"), "level", logging.ERROR)
    return lambda: stream.getvalue().splitlines()


def program(code: bytes) -> FakeSandbox:
    if b"crash" in code:
        raise RuntimeError(f"canary {code!r} {FORGED}")
    return FakeSandbox(prints=code)


def raw(node: Node, data: bytes) -> None:
    """Send what no HTTP library would."""
    url = node.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=60) as line:
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        while line.recv(65536):
            pass


def test_nobody_writes_the_log_but_sandrun(tmp_path: Path, form: str, printed: Printed) -> None:
    with a_node(tmp_path, FakeLauncher(program)) as node:
        node.ended(node.submit(b"canary-code", args=[FORGED], env={"A": "canary-env"}, stdin="canary-stdin"))
        node.ended(node.submit(b"crash canary"))
        node.client.get("/status/x%0d%0acanary?canary=query", headers={"X-Request-Id": "canary id"})
        node.post([("files", ("canary%0d%0a.py", b"canary"))], '{"interpreter": "canary"}')
        node.post([], "canary no json")
        head = {"content-type": "multipart/form-data; boundary=canary"}
        node.client.post("/submit", content=b"canary", headers=head)
        raw(node, b"canary nonsense \x1b[31m\r\n\r\n")
        ids = b"x-request-id: canary.\r\nx-submit-request-id: canary canary\r\n"
        raw(node, b"GET / HTTP/1.1\r\nhost: canary\r\n" + ids + b"connection: close\r\n\r\n")
    lines = printed()
    assert len(lines) > 6
    assert all(char.isprintable() for line in lines for char in line)
    assert not [line for line in lines if "canary" in line]
    assert not [line for line in lines if "forged" in line]
    if form == "json":
        said = [json.loads(line) for line in lines]
        events = {each["event"] for each in said}
        assert {"job was submitted", "job started", "job ended", "running a job failed"} <= events
        assert all({"time", "level", "event", "source"} <= each.keys() for each in said)
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ [A-Z]+ |    \| ", line) for line in lines)


@pytest.mark.parametrize("form", ["json"], indirect=True)
def test_a_calls_id_is_answered_and_in_the_lines_of_its_job(tmp_path: Path, printed: Printed) -> None:
    with a_node(tmp_path, FakeLauncher(program)) as node:
        node.client.headers["X-Request-Id"] = "0199-a.3"
        node.client.headers["X-Submit-Request-Id"] = "nightly-8"
        job = node.submit()
        node.ended(job)
        for path in ("/", "/nowhere", f"/status/{job}", "/status/nobody", "/openapi.json"):
            assert node.client.get(path).headers.get_list("x-request-id") == ["0199-a.3"]
        node.client.headers["X-Request-Id"] = "no id"
        made = node.client.get("/health").headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]+", made)
    life = [each for each in map(json.loads, printed()) if each.get("job") == job]
    assert [each["event"] for each in life] == ["job was submitted", "job started", "job ended"]
    assert {(each["request"], each["submit_request"]) for each in life} == {("0199-a.3", "nightly-8")}
    assert [each["level"] for each in life] == ["debug", "info", "info"]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="LOG_LEVEL is 'loud'; it must be one of debug, info"):
        logs.configure("loud", "json")
    with pytest.raises(ValueError, match="LOG_FORMAT is 'xml'"):
        logs.configure("info", "xml")
