"""Limits of keys and addresses, and what is metered."""

import asyncio
import csv
import io
from typing import Any

import pytest

from api.keyed import Keyed, keyed
from api.rig import Started
from broker.domain.limits import JOB_BYTES

pytestmark = pytest.mark.anyio

DAY = 86_400


async def refused(api: Keyed, key: str, limit: str, body: dict[str, Any] | None = None, path: str = "/submit") -> int:
    """Whether a submit is refused for this limit; the answer is Retry-After."""
    response = await api.call("POST", path, body or {"code": "x"}, key=key)
    assert response.status_code == 429, response.text
    assert response.json()["limit"] == limit
    assert limit in response.json()["error"]
    return int(response.headers["retry-after"])


async def used(api: Keyed, key: str) -> dict[str, dict[str, Any]]:
    """The caller's limits and use."""
    (owner,) = (await api.ok("GET", "/usage", key=key))["owners"]
    limits: dict[str, dict[str, Any]] = owner["limits"]
    return limits


async def test_pending_jobs_of_a_key_are_limited(started: Started) -> None:
    async with keyed(started, limit_jobs_pending=2) as api:
        one, two = await api.key("client"), await api.key("client", jobs_pending=3)
        node = await api.join()
        for _ in range(2):
            await api.ok("POST", "/submit", {"code": "x"}, key=one)
        assert await refused(api, one, "jobs_pending") > 0
        await refused(api, two, "jobs_pending", {"jobs": [{"code": "x"}] * 4}, "/submit/batch")
        await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 3}, key=two)
        for _ in range(5):
            await api.ok("POST", "/submit", {"code": "x"}, key=api.admin)  # admins have no limit
        await node.claim(max_jobs=1)
        await api.ok("POST", "/submit", {"code": "x"}, key=one)
        assert (await used(api, one))["jobs_pending"] == {"limit": 2, "used": 2}


async def test_unfinished_jobs_bound_what_runs(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_unfinished=2)
        node = await api.join()
        ids = [(await api.ok("POST", "/submit", {"code": "x"}, key=key))["job_id"] for _ in range(2)]
        jobs = await node.claim(max_jobs=2)
        await refused(api, key, "jobs_unfinished")
        await node.complete(jobs[0])
        ids.append((await api.ok("POST", "/submit", {"code": "x"}, key=key))["job_id"])
        assert (await used(api, key))["jobs_unfinished"] == {"limit": 2, "used": 2}
        for job_id in ids:
            await api.call("DELETE", f"/jobs/{job_id}", key=key)
        await api.pass_time(10)
        assert (await used(api, key))["jobs_unfinished"]["used"] == 0


async def test_many_submits_at_a_time_do_not_pass_together(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_pending=5)
        answers = await asyncio.gather(*(api.call("POST", "/submit", {"code": "x"}, key=key) for _ in range(30)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 25


async def test_jobs_on_their_way_into_an_idle_broker_are_not_forgotten(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_pending=2)
        submit = api.broker.store.submit

        async def after_a_heartbeat(*given: Any) -> Any:
            await api.broker.store.save_leases([], api.clock.now())  # a commit, with nothing pending yet
            return await submit(*given)

        monkeypatch.setattr(api.broker.store, "submit", after_a_heartbeat)
        await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 2}, key=key)
        assert (await used(api, key))["jobs_pending"]["used"] == 2
        await refused(api, key, "jobs_pending")


async def test_what_is_not_stored_is_given_back(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_pending=2, jobs_unfinished=2)
        header = {"Idempotency-Key": "a"}
        for _ in range(5):
            await api.ok("POST", "/submit", {"code": "x"}, key=key, headers=header)
        conflict = await api.call("POST", "/submit", {"code": "y"}, key=key, headers=header)
        assert conflict.status_code == 409
        limits = await used(api, key)
        assert (limits["jobs_pending"]["used"], limits["jobs_unfinished"]["used"]) == (1, 1)
        assert limits["stored_bytes"]["used"] == JOB_BYTES + 1


async def test_submissions_per_minute(started: Started) -> None:
    async with keyed(started, limit_submissions_per_minute=10) as api:
        key = await api.key("client")
        await api.ok("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 9}, key=key)
        await api.ok("POST", "/submit", {"code": "x"}, key=key)
        assert 1 <= await refused(api, key, "submissions_per_minute") <= 60
        assert (await used(api, key))["submissions_per_minute"] == {"limit": 10, "used": 10}
        await api.ok("POST", "/submit", {"code": "x"}, key=await api.key("client"))


async def test_cpu_seconds_per_day_end_with_the_day(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", cpu_seconds_per_day=10)
        node = await api.join()
        await api.ok("POST", "/submit", {"code": "x"}, key=key)
        (job,) = await node.claim()
        await node.complete(job, usage={"cpu_seconds": 12.5, "wall_seconds": 2, "memory_peak_bytes": 1024 * 1024})
        assert await refused(api, key, "cpu_seconds_per_day") <= DAY
        assert (await used(api, key))["cpu_seconds_per_day"] == {"limit": 10, "used": 12.5}
        await api.pass_time(DAY)
        await api.ok("POST", "/submit", {"code": "x"}, key=key)


async def test_stored_bytes_come_back_with_deletion(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", stored_bytes=JOB_BYTES + 1000)
        node = await api.join()
        await api.ok("POST", "/submit", {"code": "x" * 100, "stdin": "y" * 100}, key=key)
        (job,) = await node.claim()
        await node.complete(job, output="é" * 350)
        spec = len('{"stdin":""}')
        assert (await used(api, key))["stored_bytes"]["used"] == JOB_BYTES + 900 + spec
        await refused(api, key, "stored_bytes", {"code": "x"})
        await api.pass_time(3601)
        assert (await used(api, key))["stored_bytes"]["used"] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"env": {"A": "x" * 5000}},
        {"args": ["x" * 5000]},
        {"files": {"a" * 200: "x" * 4900}},
        {"stdin": "€" * 1700},
        {"code": "€" * 1700},
        {"outputs": ["x" * 250] * 20},
        {"labels": {f"n{n}": "x" * 250 for n in range(20)}},
    ],
)
async def test_whatever_a_job_holds_counts_as_stored(started: Started, given: dict[str, Any]) -> None:
    async with keyed(started) as api:
        key = await api.key("client", stored_bytes=JOB_BYTES + 5000)
        await refused(api, key, "stored_bytes", {"code": "x", **given})
        await api.ok("POST", "/submit", {"code": "x"}, key=key)


async def test_an_owners_holdings_survive_the_broker(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_unfinished=3, cpu_seconds_per_day=100)
        node = await api.join()
        for _ in range(3):
            await api.ok("POST", "/submit", {"code": "abc"}, key=key)
        (job,) = await node.claim()
        await node.complete(job, usage={"cpu_seconds": 5})
        before = await used(api, key)
    async with keyed(started) as again:
        assert await used(again, key) == before
        assert before["jobs_unfinished"]["used"] == 2


async def test_usage_counts_each_attempt_once(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client")
        node = await api.join()
        usage = {"cpu_seconds": 1.5, "wall_seconds": 2.0, "memory_peak_bytes": 64 * 1024 * 1024}
        await api.ok("POST", "/submit", {"code": "four", "retry_on": ["exit"], "max_retries": 1}, key=key)
        (job,) = await node.claim()
        for _ in range(3):  # the same completion again is a duplicate
            await node.complete(job, exit_code=1, usage=usage, output="ab", error="c")
        await api.pass_time(61)
        (again,) = await node.claim()
        await api.pass_time(3600)  # the node is silent: its attempt is lost, and with it what it used
        await node.complete(again, usage=usage)
        rows = {row["outcome"]: row for row in (await api.ok("GET", "/usage", key=key))["owners"][0]["today"]}
        assert rows["submitted"]["count"] == 1
        assert rows["submitted"]["bytes_in"] == 4
        assert rows["failed"] | {"day": "", "owner": "", "name": ""} == {
            "day": "",
            "owner": "",
            "name": "",
            "outcome": "failed",
            "count": 1,
            "cpu_seconds": 1.5,
            "wall_seconds": 2.0,
            "memory_mb_seconds": 128.0,
            "bytes_in": 0,
            "bytes_out": 3,
        }
        assert (rows["node_lost"]["count"], rows["node_lost"]["cpu_seconds"]) == (1, 0)
        assert set(rows) == {"submitted", "failed", "node_lost"}


async def test_what_a_node_measured_stays_a_number(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client")
        node = await api.join()
        for seconds in (1e308, 1e308, -1e308):
            await api.ok("POST", "/submit", {"code": "x"}, key=key)
            (job,) = await node.claim()
            usage = {"cpu_seconds": seconds, "wall_seconds": seconds, "memory_peak_bytes": 2**53}
            assert (await node.complete(job, usage=usage)).status_code == 200
        today = api.broker.quotas.today
        for path in ("/usage", f"/usage/export?from={today}&to={today}", f"/jobs/{job['id']}"):
            text = (await api.call("GET", path, key=key)).text
            assert "Infinity" not in text
            assert "NaN" not in text
        assert (await used(api, key))["cpu_seconds_per_day"]["used"] == 2e9


async def test_usage_is_exported_by_day_and_outlives_results(started: Started) -> None:
    async with keyed(started) as api:
        one, two = await api.key("client"), await api.key("client")
        node = await api.join()
        for key in (one, two):
            await api.ok("POST", "/submit", {"code": "x"}, key=key)
            (job,) = await node.claim()
            await node.complete(job, usage={"cpu_seconds": 2.0})
        day = api.broker.quotas.today
        await api.pass_time(3 * DAY)
        query = f"/usage/export?from={day}&to={api.broker.quotas.today}"
        mine = (await api.ok("GET", query, key=one))["rows"]
        assert {row["owner"] for row in mine} == {mine[0]["owner"]}
        assert {(row["day"], row["outcome"], row["count"]) for row in mine} == {
            (day, "submitted", 1),
            (day, "completed", 1),
        }
        every = (await api.ok("GET", query, key=api.admin))["rows"]
        assert len(every) == 4
        table = await api.call("GET", query + "&format=csv", key=api.admin)
        assert table.headers["content-type"].startswith("text/csv")
        assert sum(float(row["cpu_seconds"]) for row in csv.DictReader(io.StringIO(table.text))) == 4.0
        theirs = next(row["owner"] for row in every if row["owner"] != mine[0]["owner"])
        assert (await api.call("GET", f"{query}&owner={theirs}", key=one)).status_code == 404
        assert len((await api.ok("GET", f"{query}&owner={theirs}", key=api.admin))["rows"]) == 2


@pytest.mark.parametrize(
    "query",
    ["", "?from=2026-01-01", "?from=2026-02-30&to=2026-03-01", "?from=2026-02-01&to=2026-01-01", "?from=x&to=y"],
)
async def test_export_wants_two_days(started: Started, query: str) -> None:
    async with keyed(started) as api:
        assert (await api.call("GET", f"/usage/export{query}", key=api.admin)).status_code == 422


async def test_an_address_may_call_so_often(started: Started) -> None:
    async with started(limit_calls_per_minute=3) as api:
        statuses = [(await api.call("GET", "/health")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]


async def test_owners_get_fair_shares_whatever_they_call_their_submitters(started: Started) -> None:
    async with keyed(started) as api:
        greedy, modest = await api.key("client"), await api.key("client")
        for number in range(20):
            await api.ok("POST", "/submit", {"code": "x", "submitter": f"s{number}"}, key=greedy)
        job_id = (await api.ok("POST", "/submit", {"code": "x"}, key=modest))["job_id"]
        node = await api.join()
        assert job_id in [job["id"] for job in await node.claim(max_jobs=2)]
