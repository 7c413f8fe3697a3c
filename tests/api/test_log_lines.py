"""The log of a real broker, as talkative as it gets, after everybody has tried to write into it."""

import contextlib
import json
import re
from pathlib import Path

import pytest

from support.broker_process import BrokerProcess
from support.http_connection import json_request
from support.raw import Raw

pytestmark = pytest.mark.anyio
ADMIN_KEY = "canary-key-of-the-admin-0123456789"
FORGED = 'x\r\n{"time": "2026-01-01", "event": "canary", "source": "broker.forged"} \x1b[31m'
TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 [A-Z]+ +[^\x00-\x1f\x7f]*|    \| [^\x00-\x1f\x7f]*")
PATH = re.compile(r'"path": "(?:[^"\\]|\\.)*"|\bpath=(?:"(?:[^"\\]|\\.)*"|\S*)')
"""What BROKER_ACCESS_LOG writes of a path."""


def auth(key: str = ADMIN_KEY) -> str:
    return f"authorization: Bearer {key}\r\n"


async def say(process: BrokerProcess, data: bytes) -> bytes:
    """Send, and read what comes back."""
    raw = await Raw.open(process.port)
    try:
        with contextlib.suppress(ConnectionError):
            await raw.send(data)
        return await raw.rest()
    finally:
        await raw.close()


@pytest.mark.parametrize("form", ["json", "text"])
async def test_nobody_writes_the_log_but_the_broker(tmp_path: Path, form: str) -> None:
    (tmp_path / "admin_key").write_text(ADMIN_KEY)
    settings = {
        "BROKER_AUTH": "required",
        "BROKER_ADMIN_KEY_FILE": str(tmp_path / "admin_key"),
        "BROKER_LOG_LEVEL": "debug",
        "BROKER_LOG_FORMAT": form,
        "BROKER_ACCESS_LOG": "true",
        "BROKER_HEAD_TIMEOUT": "5",
    }
    close = "connection: close\r\n"
    job = {"code": "print('canary-code')", "env": {"A": "canary-env"}, "stdin": "canary-stdin", "submitter": FORGED[:1]}
    requests = [
        json_request("POST", "/submit", job, close + auth()),
        json_request("POST", "/submit", job | {"code": {"canary-body": FORGED}}, close + auth()),
        json_request("POST", "/submit?wait=canary-query", job, close + auth()),
        json_request("GET", "/jobs?label=canary-name=canary-query&limit=1", headers=close + auth()),
        json_request("GET", "/status/canary-path%0d%0a2026-01-01%1b[31m", headers=close + auth()),
        json_request("GET", "/nodes", headers=close + auth("canary-wrong-key")),
        json_request("GET", "/nodes?key=sbk_" + "c" * 12 + "_" + "canary" * 8 + "x", headers=close),
        json_request("POST", "/keys", {"name": FORGED, "role": "client"}, close + auth()),
        json_request("POST", "/register", {"endpoint": FORGED, "capabilities": {}, "name": FORGED}, close + auth()),
        json_request("POST", "/heartbeat", {"node_id": FORGED, "session": "canary-session"}, close),
        json_request(
            "GET", "/nodes", headers=close + auth() + "user-agent: canary-agent\r\nreferer: canary-referer\r\n"
        ),
        json_request("GET", "/ready", headers=close + "x-request-id: canary\x0bid\r\n"),
        json_request("GET", "/ready", headers=close + "x-request-id: " + "canary" * 50 + "\r\n"),
        json_request("GET", "/health", headers=close + "x-forwarded-for: canary-address\r\nforwarded: for=canary\r\n"),
        b"canary nonsense \x1b[31m\r\n2026-01-01 00:00:00,000 INFO broker.forged: x\r\n\r\n",
        b"GET /" + b"canary" * 5000 + b" HTTP/1.1\r\nhost: b\r\n\r\n",
        b"GET /nodes HTTP/1.1\r\nhost: canary-host.example\r\nconnection: close\r\nupgrade: canary\r\n\r\n",
    ]
    async with BrokerProcess(tmp_path, settings) as process:
        for request in requests:
            assert await say(process, request), request[:80]
        assert await process.terminate() == 0
        lines = process.log.read_text().splitlines()
    assert len(lines) > len(requests) / 2, "there is a log at all"
    if form == "json":
        said = [json.loads(text) for text in lines]
        assert all({"time", "level", "event", "source"} <= each.keys() for each in said)
        assert all(char.isprintable() for each in said for value in each.values() for char in str(value))
        assert {"serving", "job was submitted", "call", "call was refused"} <= {each["event"] for each in said}
    else:
        assert not [text for text in lines if not TEXT.fullmatch(text)]
    # A path is written by BROKER_ACCESS_LOG; nothing else of a request is.
    assert not [text for text in lines if "canary" in PATH.sub("", text)]
    assert not [text for text in lines if "forged" in text]
    paths = [text for text in lines if "canary" in text]
    assert len(paths) == 1
    assert "broker.access" in paths[0]
    assert "query" not in paths[0]


async def test_a_flood_of_refused_calls_is_a_line_or_two(tmp_path: Path) -> None:
    (tmp_path / "admin_key").write_text(ADMIN_KEY)
    settings = {"BROKER_AUTH": "required", "BROKER_ADMIN_KEY_FILE": str(tmp_path / "admin_key")}
    settings |= {"BROKER_LIMIT_FAILED_LOGINS_PER_MINUTE": "10"}
    async with BrokerProcess(tmp_path, settings) as process:
        before = len(process.log.read_text().splitlines())
        for _ in range(60):
            await say(process, json_request("GET", "/jobs", headers="connection: close\r\n" + auth("wrong")))
        lines = [json.loads(text) for text in process.log.read_text().splitlines()[before:]]
    assert [(each["event"], each["status"], each["call"]) for each in lines if each["status"] == 401] == [
        ("call was refused", 401, "GET /jobs")
    ]
    assert len(lines) == 2, "one for 401, one for 429; the others are summed up when ten seconds are over"
    assert all(each["address"] == "127.0.0.1" and each["request"] for each in lines)
