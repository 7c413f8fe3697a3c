"""The TLS overlay as a user starts it: certificates that verify, redirects, keys, streams, limits, one way in."""

import json
import subprocess
import sys
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from support.overlay import ROOT, Overlay

MIB = 1024 * 1024
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_FRAME = 4


def test_the_certificate_is_the_authoritys_and_nobody_elses(overlay: Overlay) -> None:
    with overlay.client() as client:
        assert client.get("/health").json()["status"] == "healthy"
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{overlay.url}/health", trust_env=False)
    with overlay.tls("http/1.1") as connection:
        certificate = connection.getpeercert()
    assert certificate is not None
    assert ("DNS", "localhost") in certificate["subjectAltName"]


def test_plain_http_is_sent_to_tls(overlay: Overlay) -> None:
    answer = httpx.get(f"http://localhost:{overlay.http}/jobs?limit=1", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"{overlay.url}/jobs?limit=1")


def test_http2_is_spoken(overlay: Overlay) -> None:
    with overlay.tls("h2") as connection:
        assert connection.selected_alpn_protocol() == "h2"
        connection.sendall(H2_PREFACE)
        head = connection.recv(9)
        assert head[3] == SETTINGS_FRAME, head


def test_every_call_needs_its_key_and_the_quick_start_works_with_one(overlay: Overlay) -> None:
    with overlay.client() as client:
        for key in ({}, {"Authorization": "Bearer " + "0" * 64}):
            refused = client.post("/submit", json={"code": "print(1)"}, headers=key)
            assert (refused.status_code, bool(refused.json()["error"])) == (401, True)
        answer = client.post("/submit?wait=60", json={"code": "print(21 * 2)"}, headers=overlay.key)
        assert (answer.status_code, answer.json()["output"]) == (200, "42\n")
    environment = overlay.environment | {
        "SANDRUN_URL": overlay.url,
        "SANDRUN_KEY_FILE": str(overlay.secrets / "admin_key"),
        "SANDRUN_CA_FILE": str(overlay.secrets / "root.crt"),
    }
    first = subprocess.run(
        [sys.executable, ROOT / "deploy/first_job.py"], env=environment, capture_output=True, text=True, timeout=150
    )
    assert (first.returncode, "Hello distributed world!" in first.stdout) == (0, True), first.stderr


def test_event_streams_come_through_at_once(overlay: Overlay) -> None:
    with overlay.client() as client, client.stream("GET", "/events", headers=overlay.key) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        next(lines)  # what is known at once
        started = time.monotonic()
        with overlay.client() as other:
            other.post("/submit?wait=60", json={"code": "print(1)"}, headers=overlay.key)
        assert next(line for line in lines if "completed" in line)
        assert time.monotonic() - started < 90, "held back on the way"


def test_a_websocket_comes_through_while_the_job_runs(overlay: Overlay) -> None:
    program = "import time\nprint('begun', flush=True)\ntime.sleep(5)\nprint('over')"
    with overlay.client() as client:
        job_id = client.post("/submit", json={"code": program}, headers=overlay.key).json()["job_id"]
        stream = f"wss://localhost:{overlay.https}/stream/{job_id}"
        with connect(stream, ssl=overlay.trust, additional_headers=overlay.key, proxy=None, open_timeout=60) as socket_:
            frames: list[tuple[str, str]] = []
            while not frames or "[DONE]" not in frames[-1][0]:
                text = str(socket_.recv(timeout=60))
                frames.append((text, client.get(f"/status/{job_id}", headers=overlay.key).json()["status"]))
        assert frames[0][1] != "completed", "its first words came before its end"
        # Changes of state come when they are told: between pieces of output, too.
        assert "".join(text for text, _ in frames if not text.startswith("[")) == "begun\nover\n"
    with pytest.raises(InvalidStatus, match="401"), connect(stream, ssl=overlay.trust, proxy=None):
        pass


def test_answers_have_the_headers_that_browsers_want(overlay: Overlay) -> None:
    with overlay.client() as client:
        data = client.get("/health").headers
        page = client.get("/", headers={"Accept": "text/html"}).headers
    assert data["x-content-type-options"] == page["x-content-type-options"] == "nosniff"
    assert "sandbox" in data["content-security-policy"]
    for policy in (data["content-security-policy"], page["content-security-policy"]):
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in page["content-security-policy"], "the dashboard's own policy stays"
    assert "server" not in data
    assert "strict-transport-security" not in data, "not for a name that every machine has"


def test_bodies_are_bounded_twice(overlay: Overlay) -> None:
    with overlay.client() as client:
        by_broker = client.post("/submit", json={"code": "x" * 3 * MIB}, headers=overlay.key)
        by_caddy = client.post("/submit", json={"code": "x" * 6 * MIB}, headers=overlay.key)
    for answer in (by_broker, by_caddy):
        assert (answer.status_code, "larger than" in answer.json()["error"]) == (413, True), answer.text


def test_a_broker_that_is_away_is_a_json_error(overlay: Overlay) -> None:
    try:
        overlay.run("stop", "--timeout", "5", "broker")
        with overlay.client() as client:
            answer = client.get("/health")
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["reason"]) == (503, "2", "stopping")
    finally:
        overlay.up()


def test_only_the_overlay_is_published_and_nothing_in_it_is_privileged(overlay: Overlay) -> None:
    listing = overlay.run("ps", "--format", "{{.Service}} {{.Ports}}")
    assert {line.split()[0] for line in listing.splitlines() if "->" in line} == {"caddy"}
    container = json.loads(
        subprocess.run(
            ["docker", "inspect", overlay.run("ps", "--quiet", "caddy").strip()],
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
    )[0]
    host = container["HostConfig"]
    assert (container["Config"]["User"], host["CapDrop"], host["ReadonlyRootfs"]) == ("1000:1000", ["ALL"], True)
    assert not host["Privileged"]
    secret = (overlay.secrets / "admin_key").read_text()
    assert secret not in json.dumps(container)
    for service in ("broker", "node"):
        shown = overlay.run("exec", "-T", service, "cat", "/proc/1/environ")
        assert secret not in shown
        assert "SECRET" not in shown


ATTEMPT = """
import socket
def attempt(family, target):
    s = socket.socket(family); s.settimeout(1)
    try:
        s.connect(target); print("REACHED", target)
    except OSError as error:
        print(type(error).__name__)
for target in {targets!r}:
    attempt(socket.AF_INET, tuple(target))
attempt(socket.AF_UNIX, "/run/broker/http.sock")
for name in ("broker", "caddy", "localhost"):
    try:
        print("REACHED", socket.getaddrinfo(name, 8000)) if name != "localhost" else None
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_job_reaches_neither_broker_nor_caddy(overlay: Overlay) -> None:
    targets = [("127.0.0.1", 8000), ("127.0.0.1", 8443)]
    for service in ("broker", "caddy", "node"):
        container = overlay.run("ps", "--quiet", service).strip()
        shown = subprocess.run(["docker", "inspect", container], capture_output=True, check=True, timeout=120).stdout
        for network in json.loads(shown)[0]["NetworkSettings"]["Networks"].values():
            for address in filter(None, (network["IPAddress"], network["Gateway"])):
                targets += [(address, port) for port in (8000, 8080, 8443, overlay.https)]
    with overlay.client() as client:
        program = {"code": ATTEMPT.format(targets=targets), "timeout": 60}
        result = client.post("/submit?wait=60", json=program, headers=overlay.key).json()
    assert result["status"] == "completed", result
    assert "REACHED" not in result["output"]
    assert len(result["output"].splitlines()) == len(targets) + 3


def test_keys_are_made_and_ended_by_a_command_in_the_container(overlay: Overlay) -> None:
    command = ("exec", "-T", "broker", "broker-keys")
    key = overlay.run(*command, "create", "--name", "ci", "--expires-in", "1h", "--submissions-per-minute", "5").strip()
    shown = {"Authorization": f"Bearer {key}"}
    with overlay.client() as client:
        assert client.post("/submit", json={"code": "print(1)"}, headers=shown).status_code == 200
        assert client.get("/nodes", headers=shown).status_code == 200
        (own,) = client.get("/usage", headers=shown).json()["owners"]
        assert own["limits"]["submissions_per_minute"] == {"limit": 5, "used": 1}
        listed = overlay.run(*command, "list")
        assert (own["owner"] in listed, key in listed) == (True, False)
        turned = {"Authorization": f"Bearer {overlay.run(*command, 'rotate', own['owner'], '--grace', '0s').strip()}"}
        assert [client.get("/jobs", headers=each).status_code for each in (shown, turned)] == [401, 200]
        overlay.run(*command, "revoke", own["owner"])
        assert client.get("/jobs", headers=turned).json()["reason"] == "key_revoked"
