"""The TLS overlay as a user starts it: certificates that verify, redirects, keys, streams, limits, one way in."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from support.bundle import free_port

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_FRAME = 4


@dataclass
class Overlay:
    """The running overlay: how to call compose, the environment, where it answers, and who vouches for it."""

    compose: list[str]
    environment: dict[str, str]
    https: int
    http: int
    secrets: Path
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    @property
    def key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.secrets / 'admin_key').read_text().strip()}"}

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, trust_env=False, timeout=30, **options)

    def run(self, *command: str) -> str:
        run = subprocess.run(
            [*self.compose, *command], env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def tls(self, protocol: str) -> ssl.SSLSocket:
        """A connection that offers one protocol."""
        context = ssl.create_default_context(cafile=str(self.secrets / "root.crt"))
        context.set_alpn_protocols([protocol])
        return context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.https), timeout=10), server_hostname="localhost"
        )


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overlay]:
    secrets = tmp_path_factory.mktemp("secrets")
    ports = free_port(), free_port()
    environment = os.environ | {
        "SANDRUN_SECRETS": str(secrets),
        "SANDRUN_ADDRESS": "127.0.0.1",
        "SANDRUN_HTTPS_PORT": str(ports[0]),
        "SANDRUN_HTTP_PORT": str(ports[1]),
        "SANDRUN_MAX_BODY": "4MiB",
        "SANDRUN_DOMAIN": "localhost",
        "SANDRUN_TLS": "internal",
    }
    files = ["--file", str(ROOT / "compose.yaml"), "--file", str(ROOT / "deploy/tls.yaml")]
    compose = ["docker", "compose", "--project-directory", str(ROOT), *files]
    compose += ["--project-name", f"sandrun-test-tls-{os.getpid()}"]
    subprocess.run([ROOT / "deploy/secrets.sh"], env=environment, check=True, timeout=10)
    try:
        up = [*compose, "up", "--detach", "--wait", "--wait-timeout", "120"]
        run = subprocess.run(up, env=environment, capture_output=True, text=True, timeout=180, check=False)
        logs = subprocess.run(
            [*compose, "logs"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stderr + logs.stdout
        root = [*compose, "exec", "-T", "caddy", "cat", "/data/caddy/pki/authorities/local/root.crt"]
        certificate = subprocess.run(root, env=environment, capture_output=True, check=True, timeout=30).stdout
        (secrets / "root.crt").write_bytes(certificate)
        trust = ssl.create_default_context(cafile=str(secrets / "root.crt"))
        yield Overlay(compose, environment, *ports, secrets, trust)
    finally:
        down = [*compose, "down", "--volumes", "--timeout", "2"]
        subprocess.run(down, env=environment, check=True, capture_output=True, timeout=120)


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
        answer = client.post("/submit?wait=20", json={"code": "print(21 * 2)"}, headers=overlay.key)
        assert (answer.status_code, answer.json()["output"]) == (200, "42\n")
    environment = overlay.environment | {
        "SANDRUN_URL": overlay.url,
        "SANDRUN_KEY_FILE": str(overlay.secrets / "admin_key"),
        "SANDRUN_CA_FILE": str(overlay.secrets / "root.crt"),
    }
    first = subprocess.run(
        [sys.executable, ROOT / "deploy/first_job.py"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (first.returncode, "Hello distributed world!" in first.stdout) == (0, True), first.stderr


def test_event_streams_come_through_at_once(overlay: Overlay) -> None:
    with overlay.client() as client, client.stream("GET", "/events", headers=overlay.key) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        next(lines)  # what is known at once
        started = time.monotonic()
        with overlay.client() as other:
            other.post("/submit?wait=20", json={"code": "print(1)"}, headers=overlay.key)
        assert next(line for line in lines if "completed" in line)
        assert time.monotonic() - started < 5, "held back on the way"


def test_a_websocket_comes_through_while_the_job_runs(overlay: Overlay) -> None:
    program = "import time\nprint('begun', flush=True)\ntime.sleep(1.5)\nprint('over')"
    with overlay.client() as client:
        job_id = client.post("/submit", json={"code": program}, headers=overlay.key).json()["job_id"]
        stream = f"wss://localhost:{overlay.https}/stream/{job_id}"
        with connect(stream, ssl=overlay.trust, additional_headers=overlay.key, proxy=None) as socket_:
            frames: list[tuple[str, str]] = []
            while not frames or "[DONE]" not in frames[-1][0]:
                text = str(socket_.recv(timeout=20))
                frames.append((text, client.get(f"/status/{job_id}", headers=overlay.key).json()["status"]))
        assert frames[0][1] != "completed", "its first words came before its end"
        assert "begun\nover" in "".join(text for text, _ in frames)
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
    overlay.run("pause", "broker")
    try:
        overlay.run("stop", "--timeout", "1", "broker")
        with overlay.client() as client:
            answer = client.get("/health")
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["reason"]) == (503, "2", "stopping")
    finally:
        overlay.run("start", "broker")
        overlay.run("up", "--detach", "--wait", "--wait-timeout", "60")


def test_only_the_overlay_is_published_and_nothing_in_it_is_privileged(overlay: Overlay) -> None:
    listing = overlay.run("ps", "--format", "{{.Service}} {{.Ports}}")
    assert {line.split()[0] for line in listing.splitlines() if "->" in line} == {"caddy"}
    container = json.loads(
        subprocess.run(
            ["docker", "inspect", overlay.run("ps", "--quiet", "caddy").strip()],
            capture_output=True,
            check=True,
            timeout=30,
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
        shown = subprocess.run(["docker", "inspect", container], capture_output=True, check=True, timeout=30).stdout
        for network in json.loads(shown)[0]["NetworkSettings"]["Networks"].values():
            for address in filter(None, (network["IPAddress"], network["Gateway"])):
                targets += [(address, port) for port in (8000, 8080, 8443, overlay.https)]
    with overlay.client() as client:
        program = {"code": ATTEMPT.format(targets=targets), "timeout": 60}
        result = client.post("/submit?wait=30", json=program, headers=overlay.key).json()
    assert result["status"] == "completed", result
    assert "REACHED" not in result["output"]
    assert len(result["output"].splitlines()) == len(targets) + 3


def test_a_client_cannot_lie_about_its_address(overlay: Overlay) -> None:
    """Wrong keys are counted by address: were X-Forwarded-For believed, each of these would come from another one."""
    with overlay.client() as client:
        wrong = {"Authorization": "Bearer " + "0" * 64}
        statuses = [
            client.get("/jobs", headers=wrong | {"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(60)
        ]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert client.get("/jobs", headers=overlay.key).status_code == 200, "a right key is served"
