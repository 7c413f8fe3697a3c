"""Traces of a real broker, as a collector gets them: what is in them, what is not, and that no collector delays it."""

import asyncio
import datetime
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from api.rig import LONG_ENOUGH, Api, Node
from support.broker_process import ROOT, BrokerProcess, free_port
from support.collector import Collector, Seen
from support.scrape import Scrape
from unit.agent.fake_sandrun import FakeSandrun

pytestmark = pytest.mark.anyio
SECRET = "canary-of-the-collectors-key"
CLIENT = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@asynccontextmanager
async def traced(
    directory: Path, collector: Collector | None, **settings: str
) -> AsyncIterator[tuple[Api, BrokerProcess]]:
    environment = (collector.environment if collector else {}) | settings
    async with BrokerProcess(directory, environment) as process:
        url = f"http://127.0.0.1:{process.port}"
        async with httpx.AsyncClient(base_url=url, timeout=LONG_ENOUGH, trust_env=False) as client:
            yield Api(client, cast(Any, None), cast(Any, None)), process


async def soon(collector: Collector, condition: Callable[[], Any]) -> None:
    await asyncio.to_thread(collector.wait, condition)


async def run_one(api: Api, node: Node, **said: Any) -> dict[str, Any]:
    """A job through submit, claim, start, complete; as the node saw it."""
    await api.submit("print('canary-code')", stdin="canary-stdin", env={"A": "canary-env"})
    (job,) = await node.claim()
    await api.ok("POST", "/start", {**node.who, "jobs": [{"job_id": job["id"], "fence": job["fence"]}]})
    await node.complete(job, output="canary-output", error="canary-error", **said)
    return job


def one(spans: list[Seen], name: str, **facts: Any) -> Seen:
    wanted = {f"sandrun.{key.replace('__', '.')}": value for key, value in facts.items()}
    found = [span for span in spans if span.name == name and wanted.items() <= span.facts.items()]
    assert len(found) == 1, (name, facts, spans)
    return found[0]


async def test_what_a_trace_tells_and_what_it_does_not(tmp_path: Path, collector: Collector) -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET},broken-{SECRET}"}
    async with traced(tmp_path, collector, BROKER_LOG_LEVEL="debug", **headers) as (api, process):
        node = await api.node()
        parent = {"traceparent": f"00-{'-'.join(CLIENT)}-01", "x-request-id": "my-call"}
        api.client.headers.update(parent)
        job = await run_one(api, node, exit_code=3, usage={"wall_seconds": 0.25, "cpu_seconds": 0.125})
        names = ["attempt", "job", "queue", "submit"]
        await soon(collector, lambda: collector.names(job["id"]) == names)
        about = await api.ok("GET", f"/jobs/{job['id']}")
        assert about["trace_id"] == collector.of(job["id"])[0].trace
        await batch_with_one_cancelled(api, node, collector)
        await odd_parents(api, collector)
        last = await run_one(api, node)
        assert await process.terminate() == 0
        said = process.log.read_text()
    assert collector.names(last["id"]) == names, "what ends just before the broker does is told"
    spans = collector.of(job["id"])
    root, attempt = one(spans, "job"), one(spans, "attempt")
    assert [span.parent for span in spans if span is not root] == [root.id] * 3
    assert root.parent == ""
    assert {span.service for span in spans} == {"sandrun-broker"}
    assert root.facts == {
        "sandrun.job.id": job["id"],
        "sandrun.job.interpreter": "python3",
        "sandrun.job.class": root.facts["sandrun.job.class"],
        "sandrun.job.priority": 5,
        "sandrun.job.status": "failed",
        "sandrun.job.failure": "exit",
        "sandrun.job.attempts": 1,
        "sandrun.exit_code": 3,
        "sandrun.queue.seconds": root.facts["sandrun.queue.seconds"],
        "sandrun.request.id": "my-call",
    }
    assert (root.failure, attempt.failure) == ("exit", "exit")
    assert attempt.facts["sandrun.node.id"] == node.id
    assert (attempt.facts["sandrun.wall_seconds"], attempt.facts["sandrun.cpu_seconds"]) == (0.25, 0.125)
    queue, submit = one(spans, "queue"), one(spans, "submit")
    assert submit.links == [CLIENT]
    assert root.began <= queue.began <= queue.ended == attempt.began <= attempt.marks["started"] <= attempt.ended
    assert attempt.ended == root.ended
    moments = [about["attempts"][0][name] for name in ("claimed_at", "ended_at")]
    assert [pytest.approx(stamp(text), abs=0.001) for text in moments] == [attempt.began, attempt.ended]
    assert b"canary" not in collector.raw
    assert collector.calls[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in said
    assert "canary" not in said
    assert said.count(f'"trace_id": "{root.trace}"') == said.count(f'"job": "{job["id"]}"') >= 3


def stamp(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


async def test_a_lost_attempt_a_restart_and_the_next_are_in_one_trace(tmp_path: Path, collector: Collector) -> None:
    async with traced(tmp_path, collector, NODE_TIMEOUT="2", BROKER_LINK_GRACE="0.1") as (api, process):
        dying, other = await api.node(), await api.node()
        job_id = await api.submit("x")
        (first,) = await dying.claim()
        second: list[dict[str, Any]] = []
        await soon(collector, lambda: "submit" in collector.names(job_id))
        await process.kill()
        await process.start()
        async with asyncio.timeout(LONG_ENOUGH):
            while not second:
                await other.beat()
                second = await other.claim(wait=0.3)
        await other.complete(second[0])
        await soon(collector, lambda: "job" in collector.names(job_id))
    spans = collector.of(job_id)
    assert collector.names(job_id) == ["attempt", "attempt", "job", "queue", "queue", "submit"]
    lost = one(spans, "attempt", attempt__fence=first["fence"])
    won = one(spans, "attempt", attempt__fence=second[0]["fence"])
    assert (lost.facts["sandrun.attempt.outcome"], lost.failure) == ("node_lost", "node_lost")
    assert (won.facts["sandrun.attempt.outcome"], won.failure) == ("completed", "")
    assert (lost.facts["sandrun.node.id"], won.facts["sandrun.node.id"]) == (dying.id, other.id)
    again = one(spans, "queue", attempt__fence=second[0]["fence"])
    assert (again.began, again.ended) == (lost.ended, won.began)
    assert one(spans, "job").facts["sandrun.job.attempts"] == 2


async def batch_with_one_cancelled(api: Api, node: Node, collector: Collector) -> None:
    batch = await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 3})
    names = [job["job_id"] for job in batch["jobs"]]
    for job in await node.claim(max_jobs=2):
        await node.complete(job)
    await api.ok("DELETE", f"/jobs/{names[2]}")
    await soon(collector, lambda: all("job" in collector.names(name) for name in names))
    for name in names[:2]:
        assert collector.names(name) == ["attempt", "job", "queue", "submit"]
        assert one(collector.of(name), "submit").facts["sandrun.jobs"] == 3
    cancelled = collector.of(names[2])
    assert collector.names(names[2]) == ["job", "queue", "submit"]
    assert one(cancelled, "job").facts["sandrun.job.failure"] == "cancelled"
    assert one(cancelled, "job").failure == "", "somebody wanted it"


async def odd_parents(api: Api, collector: Collector) -> None:
    odd = ["", "00-x", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'-'.join(CLIENT)}-01", f"00-{'-'.join(CLIENT)}-01-more"]
    names = [(await api.ok("POST", "/submit", {"code": "x"}, headers={"traceparent": text}))["job_id"] for text in odd]
    await soon(collector, lambda: all("submit" in collector.names(name) for name in names))
    assert [collector.of(name)[0].links for name in names] == [[]] * len(odd)


async def test_no_collector_holds_up_a_job_or_the_end(tmp_path: Path) -> None:
    with Collector() as slow, Collector() as down:
        slow.held = True
        cases = {"slow": slow, "down": down}
        await asyncio.gather(*(in_trouble(tmp_path / name, each, name) for name, each in cases.items()))


async def in_trouble(tmp_path: Path, collector: Collector, trouble: str) -> None:
    settings = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    if trouble == "down":
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    async with traced(tmp_path, collector, **settings) as (api, process):
        node = await api.node()
        if trouble == "slow":  # while its queue is empty, so that all are made at once; the node can run none of them
            await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x", "interpreter": "ruby"}] * 30})
            # What neither the queue has room for nor the collector was sent.
            dropped = await counted(api, "dropped", 30 - 8 - 4)
            assert 0 < process.log_text().count("spans are dropped") < dropped / 2, "not a line for each"
            await soon(collector, lambda: collector.calls)
        for _ in range(6):
            await run_one(api, node)
        seen = await told(api)
        assert seen("sandrun_broker_jobs_ended_total", status="completed", failure="none") == 6
        began = time.monotonic()
        assert await process.terminate(40) == 0
        assert time.monotonic() - began < 25, "3 s and what a busy machine adds; the SDK alone would wait for 30"
        log = process.log.read_text()
    assert log.count("traces were left behind") == 1
    assert "Traceback" not in log


async def counted(api: Api, result: str, least: float) -> float:
    """So many spans, or more, as soon as there are."""
    deadline = time.monotonic() + LONG_ENOUGH
    while (count := (await told(api))("sandrun_broker_trace_spans_total", result=result)) < least:
        assert time.monotonic() < deadline, (result, count)
    return count


async def told(api: Api) -> Scrape:
    return Scrape((await api.call("GET", "/metrics")).text)


async def test_broker_and_node_tell_one_trace(tmp_path: Path, collector: Collector) -> None:
    sandrun = FakeSandrun()
    async with traced(tmp_path, collector) as (api, broker):
        node = start_node(tmp_path, collector.environment, broker.port, sandrun.url)
        try:
            good = await api.submit("echo canary")
            bad = await api.submit("verdict memory")
            whole = ["attempt", "deliver", "job", "queue", "run", "submit"]
            await soon(collector, lambda: collector.names(good) == collector.names(bad) == whole)
            node.terminate()
            assert await asyncio.to_thread(node.wait, LONG_ENOUGH) == 0
        finally:
            node.kill()
            _, said = await asyncio.to_thread(node.communicate)
            sandrun.stop()
    spans = collector.of(good)
    attempt, run, deliver = (one(spans, name) for name in ("attempt", "run", "deliver"))
    assert {run.parent, deliver.parent} == {attempt.id}
    assert (run.service, deliver.service, attempt.service) == ("sandrun-node", "sandrun-node", "sandrun-broker")
    assert run.began <= run.marks["submitted"] <= run.marks["ended"] <= run.ended
    assert deliver.began <= attempt.ended <= deliver.ended, "by one clock: that of this machine"
    assert run.facts["sandrun.run.outcome"] == "completed"
    assert (deliver.facts["sandrun.deliver.answer"], deliver.facts["sandrun.deliver.tries"]) == ("ok", 1)
    assert one(collector.of(bad), "run").failure == one(collector.of(bad), "job").failure == "memory"
    assert b"canary" not in collector.raw
    assert "Traceback" not in said
    assert f'"trace_id": "{run.trace}"' in said


def start_node(directory: Path, more: dict[str, str], port: int, sandrun: str) -> "subprocess.Popen[str]":
    environment = more | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "services" / "node"),
        "BROKER_URL": f"http://127.0.0.1:{port}",
        "SANDRUN_URL": sandrun,
        "NODE_STATE_DIR": str(directory / "state"),
        "NODE_LIVE_FILE": str(directory / "live.json"),
    }
    return subprocess.Popen((sys.executable, "-m", "agent"), env=environment, stderr=subprocess.PIPE, text=True)


async def test_off_means_that_nothing_is_loaded(tmp_path: Path) -> None:
    async with BrokerProcess(tmp_path, command=(sys.executable, "-c", TELLS)) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", trust_env=False) as client:
            api = Api(client, cast(Any, None), cast(Any, None))
            job = await run_one(api, await api.node())
            assert (await api.ok("GET", f"/jobs/{job['id']}"))["trace_id"] is None
            assert "sandrun_broker_trace" not in (await api.call("GET", "/metrics")).text
        assert await process.terminate() == 0
        (line,) = [line for line in process.log.read_text().splitlines() if line.startswith("LOADED")]
    loaded = line.split()  # FastAPI loads opentelemetry's API, whatever anybody sets
    assert "broker.service.traces" in loaded
    assert [
        name
        for name in loaded
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests"))
    ] == []


TELLS = """
import atexit, runpy, sys
atexit.register(lambda: print("LOADED", *sys.modules))
sys.argv = ["broker"]
runpy.run_module("broker", run_name="__main__", alter_sys=True)
"""
"""A broker that says at its end what was imported."""
