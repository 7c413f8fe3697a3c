"""The node's traces: the same ids as the broker's, the same settings, and nothing loaded when nobody wants them."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import trace_settings
from agent.errors import SettingError
from agent.settings import Settings
from agent.telemetry import Telemetry
from agent.traces import Span, span_id_of, spread, trace_id_of
from broker import trace_settings as of_broker
from broker.domain import traces as brokers
from support.collector import Collector
from support.waiting import wait_until
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker

NODE = Path(__file__).parents[3] / "services" / "node"


def test_broker_and_node_give_the_same_names() -> None:
    for job_id in ("01a220f5-dcb3-7c63-bd6e-338f22f0a660", "job_1", "", "\udcff"):
        assert trace_id_of(job_id) == brokers.trace_id_of(job_id)
        assert spread(trace_id_of(job_id)) == brokers.spread(trace_id_of(job_id))
        assert span_id_of(job_id, "attempt", 7) == brokers.span_id_of(job_id, "attempt", 7)


def test_broker_and_node_read_the_same_settings() -> None:
    names = ("ENDPOINTS", "_SAMPLERS", "_PROTOCOLS", "_NUMBERS")
    assert [getattr(trace_settings, name) for name in names] == [getattr(of_broker, name) for name in names]
    assert not trace_settings.wanted({})
    assert trace_settings.wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_ENDPOINT: not a URL such as") as refused:
        trace_settings.wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:canary"})
    assert "canary" not in str(refused.value)


def test_nothing_is_loaded_when_nobody_wants_traces() -> None:
    told = "import sys, agent.main; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", told], env={"PYTHONPATH": str(NODE)}, capture_output=True, text=True, check=True
    )
    loaded = run.stdout.split()
    assert "agent.tracing" in loaded
    assert [name for name in loaded if name.startswith(("opentelemetry", "google.protobuf"))] == []


class Kept:
    """A sink that keeps."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def wants(self, trace_id: int) -> bool:
        return trace_id != trace_id_of("unwanted")

    def add(self, spans: list[Span]) -> None:
        self.spans += spans

    @property
    def counts(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing waits."""


def test_a_result_that_waits_for_its_broker_says_how_long(
    broker: FakeBroker, start_agent: StartAgent, settings: Settings
) -> None:
    sink = Kept()
    broker.submit("unwanted", "echo 1")
    broker.submit("kept", "sleep 0.3")
    for path in ("/complete", "/complete/batch"):
        broker.refuse[path] = [(503, {"error": "not now"})] * 1000
    agent = start_agent(sink=sink)
    wait_until(lambda: agent.parts.outbox.counts[0] == 2)
    calls = broker.calls["/complete"] + broker.calls["/complete/batch"]
    # The second of them began after that, and all results share one pause: both were tried.
    wait_until(lambda: broker.calls["/complete"] + broker.calls["/complete/batch"] >= calls + 2)
    long_enough = time.time() + 0.15  # the job's end is already over: this is a part of the time that its result waits
    wait_until(lambda: time.time() > long_enough)
    broker.refuse.clear()
    broker.wait_status("kept", "completed")
    wait_until(lambda: len(sink.spans) == 2)
    run, deliver = sink.spans
    assert (run.name, deliver.name) == ("run", "deliver")
    assert run.parent_id == deliver.parent_id == brokers.span_id_of("kept", "attempt", 1)
    assert run.ended - run.began >= 0.3
    assert int(deliver.facts["sandrun.deliver.tries"]) >= 2
    assert deliver.ended - deliver.began > 0.1
    assert abs(deliver.ended - time.time()) < 60


def test_a_collector_that_hangs_holds_up_no_node(
    broker: FakeBroker, start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as collector:
        collector.held = True
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        sink = Telemetry("sandrun-node", "1")
        start_agent(sink=sink)
        for number in range(5):
            broker.submit(f"j{number}", "echo 1")
        broker.wait_for(lambda: len(broker.completions) == 5)
        collector.wait(lambda: collector.calls)
        began = time.monotonic()
        sink.close()
        assert time.monotonic() - began < 25, "3 s and what a busy machine adds; the SDK alone would wait for 30"


def test_a_collector_that_fails_is_told_of_once_and_so_is_its_return(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Collector() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        sink = Telemetry("sandrun-node", "1")

        def counted(spans: int) -> Callable[[], bool]:
            return lambda: sum(sink.counts.values()) >= spans

        for number, status in enumerate((500, 500, 200, 200)):
            collector.status = status
            sink.add([Span("run", 1, number + 1, None, 1.0, 2.0, {})])
            wait_until(counted(number + 1))
        sink.close()
    assert sink.counts == {"sent": 2, "failed": 2, "dropped": 0}
    told = [(record.message, getattr(record, "fields", {})) for record in caplog.records]
    assert told.count(("collector_away", {"status": 500, "note": "jobs are not held up by it"})) == 1
    assert told.count(("collector_is_back", {"failed": 2})) == 1
