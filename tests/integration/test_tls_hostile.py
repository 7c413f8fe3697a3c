"""Hostile clients before the TLS overlay: requests within requests, strange names, lies about addresses, streams by the
thousand; and a job that looks for the overlay's secrets."""

import json
import subprocess
import time
from contextlib import ExitStack

import httpx
import pytest

from support import h2
from support.overlay import Overlay

SMUGGLED = "GET /keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
POST = "POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SMUGGLERS = {
    "length and chunks": POST + "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    "chunks and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}",
    "nearly chunked": POST + "Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{inner}",
    "chunked with a tab": POST + "Transfer-Encoding:\tchunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{inner}",
    "chunked twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}",
    "two lengths": POST + "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}",
    "a signed length": POST + "Content-Length: +0\r\n\r\n{inner}",
    "a folded header": POST + "Content-Length: 0\r\n Transfer-Encoding: chunked\r\n\r\n{inner}",
    "a space before the colon": POST + "Content-Length : {length}\r\n\r\n{inner}",
    "a bare line feed": POST + "X: y\nContent-Length: {length}\r\n\r\n{inner}",
    "a body of a GET": "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{inner}",
    "an upgrade": "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: {length}\r\n\r\n{inner}",
    "a WebSocket that is none": "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n{inner}",
}


@pytest.mark.parametrize("name", SMUGGLERS)
def test_no_request_hides_in_another(overlay: Overlay, name: str) -> None:
    """What the proxy takes for a body must not be a request to the broker. Where both see two requests, the second is
    refused as any other, because what it shows is no key."""
    inner = SMUGGLED.format(key="0" * 64)
    sent = SMUGGLERS[name].format(inner=inner, length=len(inner))
    with overlay.tls("http/1.1") as connection:
        connection.sendall(sent.encode())
        connection.settimeout(60)
        heard = b""
        try:
            while piece := connection.recv(65536):
                heard += piece
                connection.settimeout(0.7)  # for a second answer
        except TimeoutError:
            pass  # kept open: there is no more
    assert heard.startswith(b"HTTP/1.1 "), heard
    answers = heard.count(b"HTTP/1.1 ")
    visible = answers == 2 and heard.count(b"missing_key") + heard.count(b"unknown_key") == 1
    assert answers == 1 or visible, heard


def test_a_strange_name_is_told_so(overlay: Overlay) -> None:
    strange = {"Host": "evil.example"}
    with overlay.client() as client:
        by_tls = client.get("/health", headers=strange)
    plain = httpx.get(f"http://localhost:{overlay.http}/x", headers=strange, trust_env=False)
    for answer in (by_tls, plain):
        assert (answer.status_code, "call it by its name" in answer.json()["error"]) == (421, True)
        assert "location" not in answer.headers
        assert "server" not in answer.headers


def test_a_login_through_tls_is_for_tls_and_the_dashboard_only(overlay: Overlay) -> None:
    key = {"key": overlay.key["Authorization"].removeprefix("Bearer ")}
    for trick in ({}, {"X-Forwarded-Proto": "http"}, {"Connection": "X-Forwarded-Proto"}):
        with overlay.client() as client:
            said = client.post("/session", json=key, headers=trick).headers["set-cookie"]
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in said.split(";")}
    cookie = {"Cookie": said.partition(";")[0]}
    with overlay.client() as client:
        for origin, status in ((overlay.url, 200), ("https://evil.example", 403), ("null", 403)):
            answer = client.post("/submit", json={"code": "print(1)"}, headers=cookie | {"Origin": origin})
            assert answer.status_code == status, origin


def test_a_client_cannot_lie_about_its_address(overlay: Overlay) -> None:
    """Wrong keys are counted by address: were X-Forwarded-For believed, each of these would come from another one."""
    with overlay.client() as client:
        wrong = {"Authorization": "Bearer " + "0" * 64}
        statuses = [
            client.get("/jobs", headers=wrong | {"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(60)
        ]
        assert (statuses[0], statuses[-1]) == (401, 429)
        for trick in (
            {"Connection": "X-Forwarded-For"},
            {"Forwarded": "for=203.0.113.9"},
            {"X-Real-IP": "203.0.113.9"},
        ):
            assert client.get("/jobs", headers=wrong | trick).status_code == 429, trick
        assert client.get("/jobs", headers=overlay.key).status_code == 200, "a right key is served"


def test_streams_by_the_thousand_keep_nobody_out(overlay: Overlay) -> None:
    """2,000 logins whose bodies never end, over 20 connections: each is told at once that its address has enough."""
    host = f"localhost:{overlay.https}"
    begun = h2.head("POST", host, "/session", content_type="application/json", content_length="1000")
    streams = b"".join(
        h2.frame(h2.HEADERS, h2.END_HEADERS, stream, begun) + h2.frame(h2.DATA, 0, stream, b"{")
        for stream in range(1, 200, 2)
    )
    times = []
    with ExitStack() as stack, overlay.client() as client:
        for _ in range(20):
            connection = stack.enter_context(overlay.tls("h2"))
            connection.sendall(h2.PREFACE)
            connection.sendall(streams)
        for number in range(40):
            started = time.monotonic()
            answer = client.post("/submit", json={"code": f"print({number})", "priority": 0}, headers=overlay.key)
            times.append(time.monotonic() - started)
            assert answer.status_code == 200, answer.text
    assert sorted(times)[35] < 20, f"9 of 10 within {sorted(times)[35]:.2f} s"
    caddy = overlay.run("ps", "--quiet", "caddy").strip()
    shown = subprocess.run(["docker", "inspect", caddy], capture_output=True, check=True, timeout=120).stdout
    assert json.loads(shown)[0]["RestartCount"] == 0


LOOK = """
import os, subprocess
def look(path):
    try:
        print("FOUND", path, os.listdir(path) if os.path.isdir(path) else open(path, "rb").read())
    except OSError as error:
        print(type(error).__name__)
for path in ("/run/secrets", "/run/secrets/join_token", "/run/broker", "/var/lib/node", "/data", "/proc/1/root/run"):
    look(path)
print(dict(os.environ), open("/proc/self/mountinfo").read().count("secrets"))
"""


def test_a_job_finds_no_secret_of_the_overlay(overlay: Overlay) -> None:
    with overlay.client() as client:
        result = client.post("/submit?wait=60", json={"code": LOOK}, headers=overlay.key).json()
    assert (result["status"], "FOUND" in result["output"]) == ("completed", False), result
    for name in ("join_token", "admin_key"):
        assert (overlay.secrets / name).read_text().strip() not in result["output"]
    assert result["output"].rstrip().endswith(" 0")
