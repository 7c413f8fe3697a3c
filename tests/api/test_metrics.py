"""GET /metrics: what it counts, that nobody can blow it up, and who may read it."""

import asyncio
from pathlib import Path

import pytest

from api.keyed import Keyed, keyed
from api.rig import Api, Started, running
from broker.domain.words import AttemptOutcome, Failure
from broker.service.told import MOST_CLASSES
from support.scrape import Scrape

pytestmark = pytest.mark.anyio


async def scrape(api: Api) -> Scrape:
    answer = await api.call("GET", "/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scrape(answer.text)


async def test_a_new_broker_has_every_series_at_zero(api: Api) -> None:
    seen = await scrape(api)
    for failure in Failure:
        assert seen("sandrun_broker_jobs_ended_total", status="failed", failure=failure.value) == 0
    for outcome in AttemptOutcome:
        assert seen("sandrun_broker_attempts_ended_total", outcome=outcome.value) == 0
    for state in ("active", "draining", "silent"):
        assert seen("sandrun_broker_nodes", state=state) == 0
    assert seen("sandrun_broker_ready") == 1
    assert seen("process_resident_memory_bytes") > 2**20
    assert seen("sandrun_broker_database_bytes") > 0
    assert seen("sandrun_broker_disk_free_bytes") > 0


async def test_jobs_are_counted_by_outcome_and_cause(api: Api) -> None:
    node = await api.node()
    for _ in range(5):
        await api.submit()
    first, second, third, fourth = await node.claim(max_jobs=4)
    await node.complete(first, usage={"wall_seconds": 1.5, "cpu_seconds": 0.75})
    await node.complete(first)  # said twice, counted once
    await node.complete(second, exit_code=3)
    await node.complete(third, exit_code=None, failure="memory", usage={"wall_seconds": 0.2, "cpu_seconds": 0.25})
    await node.complete(fourth, exit_code=None, failure="platform")
    seen = await scrape(api)
    assert seen("sandrun_broker_jobs_submitted_total") == 5
    assert seen("sandrun_broker_attempts_granted_total") == 4
    assert seen.by("sandrun_broker_jobs_ended_total", "failure") == {"none": 1, "exit": 1, "memory": 1}
    assert seen.by("sandrun_broker_attempts_ended_total", "outcome") == {"completed": 1, "failed": 2, "platform": 1}
    assert seen.by("sandrun_broker_jobs", "status") == {"pending": 2, "completed": 1, "failed": 2}
    assert seen("sandrun_broker_job_wait_seconds_count") == 4
    assert seen("sandrun_broker_job_total_seconds_count") == 3
    assert (seen("sandrun_broker_job_run_seconds_count"), seen("sandrun_broker_job_run_seconds_sum")) == (2, 1.7)
    assert seen("sandrun_broker_program_cpu_seconds_total") == 1.0
    assert seen("sandrun_broker_claim_seconds_count") == 1
    assert seen("sandrun_broker_http_responses_total", call="POST /complete", code="200") == 5
    assert seen("sandrun_broker_store_operation_seconds_count") >= 10


async def test_time_is_put_into_buckets(api: Api) -> None:
    node = await api.node()
    await api.submit()
    api.clock.advance(7)
    (job,) = await node.claim()
    api.clock.advance(100)
    await node.complete(job)
    seen = await scrape(api)
    assert seen("sandrun_broker_job_wait_seconds_sum") == pytest.approx(7)
    assert seen("sandrun_broker_job_wait_seconds_bucket", le="5.0") == 0
    assert seen("sandrun_broker_job_wait_seconds_bucket", le="10.0") == 1
    assert seen("sandrun_broker_job_total_seconds_bucket", le="60.0") == 0
    assert seen("sandrun_broker_job_total_seconds_bucket", le="120.0") == 1
    assert seen("sandrun_broker_job_total_seconds_bucket", le="+Inf") == 1


async def test_a_copy_is_counted_as_one_and_never_as_an_attempt(api: Api) -> None:
    node = await api.node()
    await api.submit(cache=True)
    await api.submit(cache=True)  # waits for the first
    (job,) = await node.claim(max_jobs=4)
    await node.complete(job)
    await api.submit(cache=True)  # is there already
    seen = await scrape(api)
    assert seen("sandrun_broker_jobs_submitted_total") == 3
    assert seen.by("sandrun_broker_jobs_ended_total", "status") == {"completed": 3}
    assert seen("sandrun_broker_jobs_copied_total") == 2
    assert seen.by("sandrun_broker_attempts_ended_total", "outcome") == {"completed": 1}


async def test_nodes_slots_and_leases(api: Api) -> None:
    working, draining, silent = [await api.node() for _ in range(3)]
    await api.ok("POST", f"/nodes/{draining.id}/drain")
    for _ in range(5):
        await api.submit()
    held = await working.claim(max_jobs=5)
    await silent.claim()
    await api.pass_time(30)
    await working.beat(*held)
    await draining.beat()
    await api.pass_time(40)
    seen = await scrape(api)
    assert seen.by("sandrun_broker_nodes", "state") == {"active": 1, "draining": 1, "silent": 1}
    assert (seen("sandrun_broker_slots"), seen("sandrun_broker_slots_used")) == (8, 4)
    assert seen("sandrun_broker_leases_held") == 5
    assert seen("sandrun_broker_heartbeat_age_seconds") == pytest.approx(40)


async def test_what_nobody_can_run_is_told(api: Api) -> None:
    await api.node("ruby")
    await api.submit(priority=9)
    await api.submit(interpreter="ruby", priority=0)
    await api.pass_time(1)
    seen = await scrape(api)
    assert seen("sandrun_broker_queue_unrunnable_jobs") == 1
    assert seen.by("sandrun_broker_queue_jobs", "class") == {"python3": 1, "ruby": 1}
    assert seen.by("sandrun_broker_queue_priority_jobs", "priority") == {"9": 1, "0": 1}


async def test_calls_that_wait_are_counted(api: Api) -> None:
    node = await api.node()
    waiting = [
        asyncio.ensure_future(node.claim(wait=20)),
        asyncio.ensure_future(api.call("GET", f"/results/{await api.submit(interpreter='ruby')}?wait=20")),
    ]
    async with asyncio.timeout(18):
        while not (len(api.broker.queue) and len(api.broker.waits)):  # noqa: ASYNC110  # no event tells of both
            await asyncio.sleep(0.005)
    seen = await scrape(api)
    assert seen.by("sandrun_broker_waiting_calls", "kind") == {"claim": 1, "result": 1}
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nothing_that_strangers_send_makes_more_series(api: Api) -> None:
    """Labels, regions, interpreters, paths, methods and headers are chosen by callers."""
    await api.submit()
    before = await scrape(api)
    bodies = [{"code": "x", "requires": {"labels": {f"l{n}": f'v{n}"}}\n# HELP x y\n'}}} for n in range(150)] + [
        {"code": "x", "requires": {"region": f"r{n}"}, "memory_mb": 64 * n + 17} for n in range(150)
    ]
    await api.ok("POST", "/submit/batch", {"jobs": bodies})
    for n in range(20):
        await api.call("GET", f"/nothing/{n}")
        await api.call("GET", f"/status/{n}")
        await api.call("PROPFIND", f"/jobs/{n}")
        await api.call("POST", "/submit", {"code": "x", "interpreter": f"lisp{n}"})
        await api.call("POST", "/claim", {"node_id": f"n{n}"})
    after = await scrape(api)
    grown = {key for key in after.samples if key not in before.samples}
    classes = {key for key in grown if key[0] == "sandrun_broker_queue_jobs"}
    answers = {key for key in grown if key[0] == "sandrun_broker_http_responses_total"}
    assert len(classes) <= MOST_CLASSES
    assert len(answers) <= 8
    assert grown == classes | answers
    assert sum(after.by("sandrun_broker_queue_jobs", "class").values()) == 301


async def test_openmetrics_is_spoken_to_those_who_ask(api: Api) -> None:
    answer = await api.call("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert "sandrun_broker_build_info{" in answer.text


async def test_two_brokers_in_one_process_do_not_share_counts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        await one.submit()
        assert (await scrape(one))("sandrun_broker_jobs_submitted_total") == 1
        assert (await scrape(two))("sandrun_broker_jobs_submitted_total") == 0


async def test_a_metrics_key_reads_metrics_and_nothing_else(started: Started, tmp_path: Path) -> None:
    secret = tmp_path / "metrics_key"
    secret.write_text("5" * 64 + "\n")
    async with keyed(started, metrics_key_file=secret) as api:
        await reads_only_metrics(api, await api.key("metrics"))
        await reads_only_metrics(api, "5" * 64)
        assert (await api.call("GET", "/metrics", key=await api.key("client"))).status_code == 403


async def reads_only_metrics(api: Keyed, key: str) -> None:
    assert Scrape((await api.call("GET", "/metrics", key=key)).text)("sandrun_broker_ready") == 1
    for method, path in (
        ("GET", "/jobs"),
        ("GET", "/nodes"),
        ("POST", "/submit"),
        ("POST", "/register"),
        ("GET", "/keys"),
    ):
        answer = await api.call(method, path, {"code": "x"} if method == "POST" else None, key=key)
        assert answer.status_code == 403, (method, path)
    login = await api.call("POST", "/session", {"key": key})
    assert (login.status_code, "metrics" in login.json()["error"]) == (403, True)


async def test_readable_while_the_broker_is_in_trouble(started: Started) -> None:
    async with started() as api:
        api.broker.store._writer.trouble = "disk full"  # type: ignore[attr-defined]
        assert (await api.call("GET", "/health")).status_code == 503
        assert (await scrape(api))("sandrun_broker_store_trouble") == 1
