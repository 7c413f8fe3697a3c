"""The node's metrics: what they count, their port and its limits, and what is read of the container."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client import CollectorRegistry

from agent import gauges, metrics_server
from agent.lifecycle import Agent
from agent.metrics import ANSWERS, OTHER, OUTCOMES, Metrics
from agent.metrics_server import MOST_CONNECTIONS, MetricsServer
from agent.model import FAILURES
from agent.settings import Settings
from agent.threads import Crash
from support.scrape import Scrape
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun

Serve = Callable[[CollectorRegistry], MetricsServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[MetricsServer] = []

    def start(registry: CollectorRegistry) -> MetricsServer:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = metrics_server.serve(f"127.0.0.1:{port}", registry, Crash())
        assert server is not None
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def url_of(server: MetricsServer) -> str:
    host, port = server.server_address[:2]
    return f"http://{host!s}:{port}"


def scrape(server: MetricsServer) -> Scrape:
    answer = requests.get(f"{url_of(server)}/metrics", timeout=30)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scrape(answer.text)


def watched(agent: Agent, settings: Settings, serve: Serve) -> MetricsServer:
    gauges.watch(settings, agent.parts, lambda: agent.session, agent.problem)
    return serve(agent.parts.metrics.registry)


def test_what_happens_on_a_node_is_counted(
    broker: FakeBroker, start_agent: StartAgent, settings: Settings, serve: Serve
) -> None:
    for number, code in enumerate(("echo 1", "echo 2", "exit 3", "hang", "hang")):
        broker.submit(f"j{number}", code)
    agent = start_agent()
    server = watched(agent, settings, serve)
    broker.wait_for(lambda: {"j3", "j4"} <= set(broker.started))
    broker.wait_for(lambda: len(broker.completions) == 3 and not agent.parts.outbox.counts[0])
    seen = scrape(server)
    assert seen.by("sandrun_node_attempts_ended_total", "outcome") == {"completed": 2, "exit": 1}
    assert seen.by("sandrun_node_deliveries_total", "answer") == {"ok": 3}
    assert seen("sandrun_node_jobs_claimed_total") == 5
    assert seen("sandrun_node_sessions_total") == 1
    assert (seen("sandrun_node_slots"), seen("sandrun_node_slots_used")) == (2, 2)
    assert (seen("sandrun_node_attempts_held"), seen("sandrun_node_outbox_results")) == (2, 0)
    assert seen("sandrun_node_run_seconds_count") == 3
    assert seen("sandrun_node_broker_call_seconds_count", call="register") == 1
    assert (seen("sandrun_node_healthy"), seen("sandrun_node_sandrun_up"), seen("sandrun_node_draining")) == (1, 1, 0)
    assert 0 < seen("sandrun_node_lease_remaining_seconds") <= broker.lease
    assert 0 <= seen("sandrun_node_beat_age_seconds") < 60
    assert seen.by("sandrun_node_info", "node_id") == {"node-1": 1}
    assert seen("process_resident_memory_bytes") > 0
    assert seen("sandrun_node_disk_free_bytes", folder="/tmp") > 0


def test_trouble_is_seen(
    broker: FakeBroker, sandrun: FakeSandrun, start_agent: StartAgent, settings: Settings, serve: Serve
) -> None:
    agent = start_agent()
    server = watched(agent, settings, serve)
    broker.wait_for(lambda: broker.beats)
    broker.reject_beats = True
    sandrun.stop()
    broker.wait_for(lambda: not agent.parts.watch.up)
    failed = agent.parts.metrics._failed_calls.labels("heartbeat")
    broker.wait_for(lambda: failed._value.get())
    seen = scrape(server)
    assert (seen("sandrun_node_sandrun_up"), seen("sandrun_node_healthy")) == (0, 0)
    assert seen("sandrun_node_sandrun_failures_total") == 1
    assert seen("sandrun_node_broker_call_failures_total", call="heartbeat") >= 1


def test_every_series_is_there_from_the_start_and_strangers_make_none(serve: Serve) -> None:
    metrics = Metrics()
    server = serve(metrics.registry)
    before = scrape(server)
    for outcome in {"completed", "released", "dropped", *FAILURES}:
        assert before("sandrun_node_attempts_ended_total", outcome=outcome) == 0
    for number in range(50):
        metrics.ended(f"new{number}")
        metrics.delivered(f'odd"{number}\n')
        with metrics.timed(f"/made-up/{number}"):
            pass
    after = scrape(server)
    assert {labels for name, labels in after.samples.keys() - before.samples.keys()} == {
        frozenset({("outcome", OTHER)})
    }
    assert after("sandrun_node_deliveries_total", answer=OTHER) == 50
    assert len(OUTCOMES) + len(ANSWERS) < 25


def test_a_failed_call_is_counted_and_still_raises() -> None:
    metrics = Metrics()
    with pytest.raises(OSError, match="away"), metrics.timed("/heartbeat"):
        raise OSError("away")
    assert metrics._failed_calls.labels("heartbeat")._value.get() == 1


def test_there_is_nothing_but_metrics(serve: Serve) -> None:
    server = serve(CollectorRegistry())
    assert requests.get(url_of(server), timeout=30).status_code == 404
    assert requests.get(f"{url_of(server)}/metrics/x", timeout=30).status_code == 404
    assert requests.post(f"{url_of(server)}/metrics", data=b"x", timeout=30).status_code == 501


def test_who_says_nothing_keeps_nobody_out_for_long(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_SECONDS", 0.5)
    server = serve(CollectorRegistry())
    host, port = server.server_address[:2]
    address = (str(host), int(port))
    silent = [socket.create_connection(address, timeout=30) for _ in range(MOST_CONNECTIONS + 3)]
    for connection in silent:
        connection.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
    # The surplus is refused at once, the others when their time is over: each of them hears the end.
    assert [connection.recv(100) for connection in silent] == [b""] * len(silent)
    monkeypatch.undo()
    assert scrape(server) is not None
    for connection in silent:
        connection.close()


def test_a_taken_port_does_not_keep_the_node_from_working(serve: Serve) -> None:
    taken = serve(CollectorRegistry())
    host, port = taken.server_address[:2]
    assert metrics_server.serve(f"{host!s}:{port}", CollectorRegistry(), Crash()) is None


@pytest.mark.parametrize("version", [1, 2])
def test_the_container_is_read_in_both_cgroup_versions(tmp_path: Path, serve: Serve, version: int) -> None:
    files = {
        1: {
            "memory/memory.usage_in_bytes": "1000\n",
            "pids/pids.current": "7\n",
            "cpuacct/cpuacct.usage": "2500000000\n",
            "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        },
        2: {
            "memory.current": "1000\n",
            "pids.current": "7\n",
            "cpu.stat": "usage_usec 2500000\nuser_usec 1\nthrottled_usec 500000\n",
            "memory.events": "low 0\noom 4\noom_kill 3\n",
        },
    }[version]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    registry = CollectorRegistry()
    registry.register(gauges._ContainerCollector(None, tmp_path))
    seen = scrape(serve(registry))
    assert seen("sandrun_node_container_memory_bytes") == 1000
    assert seen("sandrun_node_container_processes") == 7
    assert seen("sandrun_node_container_cpu_seconds_total") == 2.5
    assert seen("sandrun_node_container_oom_kills_total") == 3
    if version == 2:
        assert seen("sandrun_node_container_cpu_throttled_seconds_total") == 0.5


def test_nothing_is_said_of_a_container_that_cannot_be_seen(tmp_path: Path, serve: Serve) -> None:
    registry = CollectorRegistry()
    registry.register(gauges._ContainerCollector(tmp_path / "gone", tmp_path))
    names = {name for name, _ in scrape(serve(registry)).samples}
    assert names == {"sandrun_node_disk_free_bytes"}
