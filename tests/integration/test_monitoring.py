"""The monitoring overlay as a user starts it, with TLS and keys: Prometheus finds broker and nodes, and judges them.

A backup is made of this bundle, and its volume made anew of that.
"""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import queries
from support.bundle import TAG, free_port
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS_IMAGE = f"sandrun-prometheus:{TAG}"
FILES = ("compose.yaml", "deploy/tls.yaml", "deploy/monitoring.yaml")


@dataclass
class Watched:
    """The running bundle."""

    project: str
    compose: list[str]
    environment: dict[str, str]
    prometheus: str
    broker: httpx.Client

    def run(self, *command: str, stdin: bytes | None = None) -> bytes:
        run = subprocess.run(
            [*self.compose, *command], env=self.environment, input=stdin, capture_output=True, timeout=400, check=False
        )
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout

    def ask(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.prometheus}/api/v1/{path}", params=parameters, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def value(self, query: str) -> float | None:
        """The value of a query with one series, or none."""
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def submit(self, **fields: Any) -> str:
        answer = self.broker.post("/submit", json={"code": "print(21 * 2)"} | fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    secrets = tmp_path_factory.mktemp("secrets")
    https, http, prometheus = free_port(), free_port(), free_port()
    environment = os.environ | {
        "SANDRUN_SECRETS": str(secrets),
        "SANDRUN_ADDRESS": "127.0.0.1",
        "SANDRUN_HTTPS_PORT": str(https),
        "SANDRUN_HTTP_PORT": str(http),
        "PROMETHEUS_PUBLISHED_PORT": str(prometheus),
    }
    project = f"sandrun-test-watched-{os.getpid()}"
    files = [part for name in FILES for part in ("--file", str(ROOT / name))]
    compose = ["docker", "compose", "--project-directory", str(ROOT), *files, "--project-name", project]
    subprocess.run([ROOT / "deploy/secrets.sh"], env=environment, check=True, timeout=60)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # test_tls.py looks at certificates
    key = {"Authorization": f"Bearer {(secrets / 'admin_key').read_text()}"}
    try:
        up = [*compose, "up", "--detach", "--wait", "--wait-timeout", "240", "--scale", "node=2"]
        run = subprocess.run(up, env=environment, capture_output=True, text=True, timeout=400, check=False)
        logs = subprocess.run([*compose, "logs"], env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr + logs.stdout
        url = f"https://localhost:{https}"
        with httpx.Client(base_url=url, verify=trust, trust_env=False, timeout=120, headers=key) as client:
            yield Watched(project, compose, environment, f"http://127.0.0.1:{prometheus}", client)
    finally:
        down = [*compose, "down", "--volumes", "--timeout", "2"]
        subprocess.run(down, env=environment, check=True, capture_output=True, timeout=1200)


def test_prometheus_reads_the_broker_and_every_node_and_judges(watched: Watched) -> None:
    waiting = watched.submit(requires={"gpu": True})
    ended = watched.submit()
    assert watched.broker.get(f"/results/{ended}?wait=60").json()["output"] == "42\n"

    def all_up() -> bool:
        targets = watched.ask("targets", state="active")["activeTargets"]
        up = [target["labels"]["job"] for target in targets if target["health"] == "up"]
        return sorted(up) == ["broker", "node", "node", "prometheus"]

    wait_until(all_up, seconds=200, what="broker and two nodes are up")
    for query in (
        'sandrun_broker_jobs_ended_total{status="completed"} == 1',
        'sum(sandrun_node_attempts_ended_total{outcome="completed"}) == 1',
        "sum(sandrun_node_slots) == sum(sandrun_broker_slots)",
        "count(sandrun_node_container_memory_bytes > 0) == 2",
    ):
        wait_until(lambda query=query: watched.value(query) is not None, seconds=120, what=query)  # type: ignore[misc]

    def states() -> dict[str, str]:
        groups = watched.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: rule["state"] for rule in rules if rule["health"] == "ok"}

    pending = wait_until(
        lambda: found if (found := states()).get("SandrunJobsUnrunnable") == "pending" else None,
        seconds=200,
        what="the rule that nobody can run a job waits for its time",
    )
    calm = {"SandrunBrokerDown", "SandrunNoNodes", "SandrunNodeDown", "SandrunDatabaseRefusesChanges"}
    assert {pending[name] for name in calm} == {"inactive"}
    assert watched.broker.delete(f"/jobs/{waiting}").status_code == 200


def test_prometheus_is_on_loopback_and_nothing_special(watched: Watched) -> None:
    shown = subprocess.run(
        ["docker", "inspect", watched.run("ps", "--quiet", "prometheus").decode().strip()],
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout
    (container,) = json.loads(shown)
    host = container["HostConfig"]
    assert (container["Config"]["User"], host["CapDrop"], host["ReadonlyRootfs"]) == ("1000:1000", ["ALL"], True)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    bound = container["NetworkSettings"]["Ports"]["9090/tcp"]
    assert {address["HostIp"] for address in bound} == {"127.0.0.1"}
    key = (Path(watched.environment["SANDRUN_SECRETS"]) / "metrics_key").read_text()
    assert key not in shown.decode()
    assert key not in json.dumps(watched.ask("status/config"))
    for path in ("-/reload", "-/quit", "api/v1/admin/tsdb/snapshot"):
        refused = httpx.post(f"{watched.prometheus}/{path}", timeout=60, trust_env=False)
        assert (refused.status_code >= 400, "disabled" in refused.text or "not enabled" in refused.text) == (True, True)


IN_BROKER = """
import urllib.request
key = open("/run/secrets/metrics_key").read().strip()
ask = urllib.request.Request("http://127.0.0.1:8000/metrics", headers={"Authorization": "Bearer " + key})
print(urllib.request.urlopen(ask, timeout=60).read().decode(), end="")
"""
IN_NODE = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=60).read().decode(), end="")
"""


def test_promtool_finds_nothing_to_say(watched: Watched) -> None:
    watched.run("exec", "-T", "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    for service, program in (("broker", IN_BROKER), ("node", IN_NODE)):
        page = watched.run("exec", "-T", service, "python", "-c", program)
        assert b"# TYPE sandrun_" in page
        said = watched.run("exec", "-T", "prometheus", "promtool", "check", "metrics", stdin=page)
        assert said == b"", service


def test_every_alert_fires_as_its_test_says() -> None:
    """tests/api/test_monitoring_files.py sees to it that each has one."""
    mounted = ["--volume", f"{queries.RULES.parent}:/rules:ro", "--network", "none", "--entrypoint", "promtool"]
    promtool = ["docker", "run", "--rm", *mounted, PROMETHEUS_IMAGE, "test", "rules", "/rules/alerts.test.yml"]
    run = subprocess.run(promtool, capture_output=True, text=True, timeout=250, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


QUIET = {
    'ALERTS{alertstate="firing"}',
    "rate(sandrun_node_container_cpu_throttled_seconds_total[1m])",
}
"""Queries of the dashboard that may show nothing: while all is well, and on a kernel that does not count this."""


def test_each_query_of_the_dashboard_shows_something(watched: Watched) -> None:
    """With its labels: a name that is there (tests/api/test_monitoring_files.py) may have none of those asked for."""
    failed = watched.submit(code="raise SystemExit(3)")
    assert watched.broker.get(f"/results/{failed}?wait=30").json()["failure"] == "exit"
    waiting = watched.submit(requires={"gpu": True})
    asked = set(queries.dashboard_queries())
    assert asked >= QUIET

    def empty() -> set[str]:
        return {query for query in asked - QUIET if not watched.ask("query", query=query)["result"]}

    wait_until(lambda: not empty(), seconds=60, what=f"they show something: {empty()}")
    assert watched.broker.delete(f"/jobs/{waiting}").status_code == 200


def test_a_bundle_comes_back_from_its_backup(watched: Watched) -> None:
    """docs/operations.md, word for word: a backup of the live broker, then a new volume made of it."""
    files = {"main.py": "open('out.txt', 'w').write('kept')"}
    done = watched.submit(code=None, files=files, entrypoint="main.py", outputs=["out.txt"])
    assert watched.broker.get(f"/results/{done}?wait=60").json()["status"] == "completed"
    tar = watched.run("exec", "-T", "broker", "broker-backup")
    stamp = "time() - sandrun_broker_backup_timestamp_seconds"
    wait_until(lambda: (watched.value(stamp) or 1e9) < 600, seconds=120, what="Prometheus knows of the backup")
    later = watched.submit()
    watched.run("rm", "--stop", "--force", "broker")
    subprocess.run(
        ["docker", "volume", "rm", f"{watched.project}_broker-data"], check=True, capture_output=True, timeout=120
    )
    watched.run("run", "--rm", "--no-deps", "-T", "broker", "restore", stdin=tar)
    watched.run("up", "--detach", "--wait", "--wait-timeout", "240", "--scale", "node=2")
    assert watched.broker.get(f"/download/{done}/out.txt").content == b"kept"
    assert watched.broker.get(f"/status/{later}").status_code == 404
    again = watched.submit()
    assert watched.broker.get(f"/results/{again}?wait=60").json()["output"] == "42\n"
    nodes = watched.broker.get("/nodes").json()["nodes"]
    assert len(nodes) == 2, "the same nodes, each under its old name"
