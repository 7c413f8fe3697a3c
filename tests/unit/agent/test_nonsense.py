"""A broker, or what stands in its place, that answers nonsense: the agent lives on, and no attempt ends in silence."""

import json
import time
from typing import Any

import pytest

from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def said(value: Any) -> bytes:
    return whole(json.dumps(value).encode())


PAGE = b"<html><body>This is not the broker.</body></html>"
PAGES = [whole(PAGE, status, "text/html") for status in ("200 OK", "404 Not Found", "403 Forbidden", "400 Bad Request")]
PAGES += [whole(PAGE, status, "text/html") for status in ("520 Unknown", "302 Found", "409 Conflict", "405 No")]
WIRE = [
    b"",
    b"\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 99 What\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
    whole(b'{"status":"ok"'),
    whole(b"\xff\xfe\x00"),
    whole(b"[" * 100_000),
    whole(b'{"a":' * 50_000),
    whole(b" " * (5 << 20) + b"{}"),
    whole(b"NaN"),
]
SHAPES: list[Any] = [[], None, "ok", 5, {}, {"status": "no"}, {"error": 5, "reason": [], "status": {}}]
ODD: list[Any] = [5, -1, 0, "soon", [], {}, None, True, [5], [None], [[]], ["x"], [{}]]
ODD.append([{"job_id": 1, "fence": 2}])
WORDS: list[Any] = ["what", 5, None, []]
NO_NAMES: list[Any] = [5, "ö\n", [], {}]
LOUD = b'{"status":"ok","node_id":"n","session":"s","lease_seconds":%s,"heartbeat_seconds":%s}'
NONSENSE: dict[str, list[bytes]] = {
    "/register": [
        *(said({"node_id": node_id}) for node_id in (5, None, "", "n\r\nX: y", "nö", "n" * 10_000)),
        *(said({"node_id": "n", "session": odd, "secret": odd}) for odd in NO_NAMES),
        *(said({"node_id": "n", "session": "s", "lease_seconds": o, "heartbeat_seconds": o}) for o in ODD[:7]),
        *(whole(LOUD % (number, number)) for number in (b"1e999", b"-1e999", b"NaN", b"9" * 400)),
    ],
    "/heartbeat": [
        *(said({"status": "ok", "lost": o, "cancel": o, "follow": o, "drain": o, "lease_seconds": o}) for o in ODD),
        *(whole(LOUD % (number, number)) for number in (b"NaN", b"-1e999", b"9" * 400)),
    ],
    "/claim": [
        *(said({"jobs": odd, "job": odd}) for odd in ODD),
        whole(b'{"jobs":[{"id":"x","fence":1e999}],"job":null}'),
        whole(b'{"jobs":[{"id":"x","fence":NaN}],"job":null}'),
        said({"job": None}),
    ],
    "/start": [said({"status": "ok", "lost": odd}) for odd in ODD],
    "/complete": [said({"status": odd}) for odd in ODD],
    "/complete/batch": [said({"status": "ok", "results": odd}) for odd in ODD]
    + [said({"results": [{"job_id": f"j{n}", "status": odd} for n in range(40)]}) for odd in WORDS],
    "/link": [b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000 + b"\n", b"HTTP/1.1 204 No\r\n\r\n"],
}
for path, answers in NONSENSE.items():
    answers += [*WIRE, *(PAGES if path not in ("/link", "/complete/batch") else PAGES[:1]), *map(said, SHAPES)]


CODE = {"/start": "sleep 0.08\necho hi"}  # long enough to be announced


@pytest.mark.parametrize("path", NONSENSE)
def test_nonsense_is_survived(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Every answer once; afterwards all jobs have ended, each with its result."""
    monkeypatch.setattr("agent.notices.RETRY_CAP", 0.1)
    unread = broker.raw[path] = list(NONSENSE[path])
    jobs = [f"j{number}" for number in range(12)]
    for job in jobs:
        broker.submit(job, CODE.get(path, "echo hi"))
    start_agent(poll_interval=0.1)
    if path == "/complete/batch":  # single results are refused, so that several are due at a time
        broker.refuse["/complete"] = [(503, {"error": "not now"})] * 1000
    deadline = time.monotonic() + 150
    while unread:
        left = len(unread)
        assert time.monotonic() < deadline, f"{left} of {len(NONSENSE[path])} answers unread"
        jobs.append(f"j{len(jobs)}")
        broker.submit(jobs[-1], CODE.get(path, "echo hi"))
        broker.wait_for(lambda left=left: len(unread) < left or broker.status(jobs[-1]) == "completed")
    broker.refuse.clear()
    for job in jobs:
        assert broker.wait_status(job, "completed")["result"]["output"] == "hi\n", job
