"""What clients call: submit, status, results, cancel, lists."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from api.rig import Api, Started

pytestmark = pytest.mark.anyio


async def test_the_life_of_a_job_as_old_clients_know_it(api: Api) -> None:
    submitted = await api.ok("POST", "/submit", {"code": "print(1)", "interpreter": "python3", "timeout": 60})
    assert submitted == {"job_id": submitted["job_id"], "status": "pending"}
    job_id = submitted["job_id"]
    status = await api.status(job_id)
    assert (status["job_id"], status["status"], status["node_id"], status["completed_at"]) == (
        job_id,
        "pending",
        None,
        None,
    )
    assert datetime.fromisoformat(status["created_at"]).utcoffset() is not None
    early = await api.call("GET", f"/results/{job_id}")
    assert (early.status_code, early.json()) == (202, {"error": "Job not completed", "status": "pending"})
    node = await api.node()
    (job,) = await node.claim()
    assert (await api.status(job_id))["status"] == "assigned"
    await node.complete(job, output="1\n", error="warning")
    results = await api.ok("GET", f"/results/{job_id}")
    assert [results[name] for name in ("job_id", "status", "output", "error", "exit_code")] == [
        job_id,
        "completed",
        "1\n",
        "warning",
        0,
    ]
    assert (await api.status(job_id))["node_id"] == node.id


async def test_an_exit_code_comes_back_as_it_was(api: Api) -> None:
    job_id = await api.submit()
    node = await api.node()
    (job,) = await node.claim()
    await node.complete(job, exit_code=7, error="boom")
    results = await api.ok("GET", f"/results/{job_id}")
    assert [results[name] for name in ("status", "failure", "exit_code", "error")] == ["failed", "exit", 7, "boom"]


@pytest.mark.parametrize("path", ["/status/nobody", "/results/nobody", "/jobs/nobody"])
async def test_an_unknown_job(api: Api, path: str) -> None:
    response = await api.call("GET", path)
    assert (response.status_code, response.json()) == (404, {"error": "Job not found"})


async def test_a_deleted_result_is_gone_then_unknown(started: Started) -> None:
    async with started(RESULT_TTL=100, tombstone_ttl=1000) as api:
        job_id = await api.submit()
        await api.call("DELETE", f"/jobs/{job_id}")
        api.clock.advance(100)
        assert (await api.call("GET", f"/results/{job_id}")).status_code == 410, "at once, swept or not"
        await api.pass_time(1)
        for path in ("status", "results", "jobs"):
            assert (await api.call("GET", f"/{path}/{job_id}")).status_code == 410
        await api.pass_time(2000)
        assert (await api.call("GET", f"/status/{job_id}")).status_code == 404


@pytest.mark.parametrize("call", ["/status/{}?wait=20", "/results/{}?wait=20"])
async def test_wait_answers_when_the_job_has_ended(api: Api, call: str) -> None:
    job_id = await api.submit()
    node = await api.node()
    (job,) = await node.claim()
    waiting = asyncio.create_task(api.ok("GET", call.format(job_id)))
    while not len(api.broker.waits):  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
    await node.complete(job)
    assert (await waiting)["status"] == "completed"
    assert len(api.broker.waits) == 0


async def test_wait_ends_when_the_time_is_up(api: Api) -> None:
    job_id = await api.submit()
    assert (await api.ok("GET", f"/status/{job_id}?wait=0.05"))["status"] == "pending"
    assert (await api.call("GET", f"/results/{job_id}?wait=0.05")).status_code == 202


async def test_submit_and_wait_is_one_call(api: Api) -> None:
    node = await api.node()
    submitting = asyncio.create_task(api.ok("POST", "/submit?wait=20", {"code": "print(1)"}))
    (job,) = await node.claim(wait=15)
    await node.complete(job, output="done")
    answer = await submitting
    assert (answer["status"], answer["output"], answer["exit_code"]) == ("completed", "done", 0)


async def test_a_batch_is_accepted_whole(api: Api) -> None:
    answer = await api.ok("POST", "/submit/batch", {"jobs": [{"code": str(n)} for n in range(3)]})
    node = await api.node()
    jobs = await node.claim(max_jobs=3)
    assert [job["id"] for job in jobs] == answer["job_ids"]
    assert [job["code"] for job in jobs] == ["0", "1", "2"]


async def test_a_batch_with_one_bad_job_stores_none_and_says_which(api: Api) -> None:
    for bad, where in (
        ({"code": 1}, ["body", "jobs", 1, "code"]),
        ({"code": "x", "timeout": 1e6}, ["body", "jobs", "1", "timeout"]),
    ):
        response = await api.call("POST", "/submit/batch", {"jobs": [{"code": "a"}, bad]})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == where
    assert (await api.ok("GET", "/health"))["jobs"] == 0


async def test_an_idempotency_key_makes_one_job(api: Api) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = await api.ok("POST", "/submit", {"code": "x", "labels": {"a": "1"}}, headers=headers)
    again = await api.ok("POST", "/submit", {"labels": {"a": "1"}, "code": "x"}, headers=headers)
    assert (again["job_id"], again["replayed"]) == (first["job_id"], True)
    other = await api.call("POST", "/submit", {"code": "y"}, headers=headers)
    assert other.status_code == 409
    assert (await api.ok("GET", "/health"))["jobs"] == 1


async def test_identical_jobs_are_answered_from_the_cache(api: Api) -> None:
    node = await api.node()
    await api.submit("f()", cache=True, args=["1"])
    (job,) = await node.claim()
    await node.complete(job, output="42")
    hit = await api.ok("POST", "/submit?wait=15", {"code": "f()", "cache": True, "args": ["1"], "priority": 9})
    assert (hit["status"], hit["cached"], hit["output"]) == ("completed", True, "42")
    miss = await api.ok("POST", "/submit", {"code": "f()", "cache": True, "args": ["2"]})
    assert miss["status"] == "pending"


async def test_cancel(api: Api) -> None:
    job_id = await api.submit()
    for _ in range(2):
        answer = await api.ok("DELETE", f"/jobs/{job_id}")
        assert (answer["status"], answer["failure"]) == ("failed", "cancelled")
    result = await api.ok("GET", f"/results/{job_id}")
    assert result["error"] == result["explanation"] == "The job was cancelled while it was pending."
    assert (await api.call("DELETE", "/jobs/nobody")).status_code == 404


async def test_many_jobs_are_cancelled_by_label(started: Started) -> None:
    async with started() as api:
        node = await api.node()
        mine = [await api.submit(labels={"run": "7"}) for _ in range(5)]
        other = await api.submit(labels={"run": "8"})
        (held,) = await node.claim()
        assert held["id"] == mine[0]
        found = await api.ok("DELETE", "/jobs?label=run=7")
        assert found == {"cancelled": 5, "requested": 0, "more": False}
        assert await api.ok("DELETE", "/jobs?label=run=7") == {"cancelled": 0, "requested": 0, "more": False}
        assert [(await api.status(job_id))["failure"] for job_id in mine] == ["cancelled"] * 5
        assert (await api.status(other))["status"] == "pending"
        assert (await api.call("DELETE", "/jobs")).status_code == 422
        more = [await api.submit(labels={"run": "9"}) for _ in range(3)]
        assert (await api.ok("DELETE", "/jobs?label=run=9&limit=2"))["more"] is True
        assert sorted([(await api.status(job_id))["status"] for job_id in more]) == ["failed", "failed", "pending"]


async def test_jobs_are_listed_in_pages_with_filters(api: Api) -> None:
    made = [await api.submit(labels={"team": "red" if n % 2 else "blue"}, submitter=f"s{n}") for n in range(5)]
    page = await api.ok("GET", "/jobs?limit=3")
    rest = await api.ok("GET", f"/jobs?limit=3&cursor={page['next_cursor']}")
    assert [job["job_id"] for job in page["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next_cursor"] is None
    red = await api.ok("GET", "/jobs?label=team=red&status=pending")
    assert [job["job_id"] for job in red["jobs"]] == [made[3], made[1]]
    assert [job["submitter"] for job in (await api.ok("GET", "/jobs?submitter=s4"))["jobs"]] == ["s4"]
    assert (await api.call("GET", "/jobs?label=nonsense")).status_code == 422
    assert (await api.call("GET", "/jobs?status=weird")).status_code == 422


async def test_a_job_with_its_attempts(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    await node.complete(job, failure="platform", message="no sandbox", exit_code=None)
    seen = await api.ok("GET", f"/jobs/{job_id}")
    assert [(a["attempt"], a["outcome"], a["message"]) for a in seen["attempts"]] == [(1, "platform", "no sandbox")]
    assert seen["waiting_for"].startswith("another try after a backoff, at 20")


async def test_results_in_one_call(api: Api) -> None:
    node = await api.node()
    done, waiting = await api.submit("a"), await api.submit("b")
    (job,) = await node.claim()
    await node.complete(job, output="A")
    answer = await api.ok("POST", "/results/batch", {"job_ids": [waiting, done, "nobody"]})
    first, second, third = answer["results"]
    assert (first["job_id"], first["error"], first["status"]) == (waiting, "Job not completed", "pending")
    assert (second["job_id"], second["output"]) == (done, "A")
    assert third == {"job_id": "nobody", "error": "Job not found"}


async def test_a_start_time_and_a_deadline(api: Api) -> None:
    node = await api.node()
    later = await api.submit("later", not_before=30)
    doomed = await api.submit("doomed", requires={"gpu": True}, deadline=60)
    assert await node.claim() == []
    assert (await api.status(later))["waiting_for"].startswith("its start time, at ")
    assert (await api.status(doomed))["waiting_for"] == "a live node with a GPU"
    await api.pass_time(30)
    assert (await api.status(later))["waiting_for"] == "a free slot"
    assert [job["id"] for job in await node.claim()] == [later]
    await api.pass_time(30)
    assert (await api.status(doomed))["failure"] == "rejected"


async def test_what_no_node_ever_offered_is_rejected_together(started: Started) -> None:
    """A commit for each class would keep silent nodes from being noticed meanwhile."""
    async with started(reject_after=100, NODE_TIMEOUT=1000) as api:
        await api.node()
        jobs = [await api.submit(requires={"labels": {"place": str(n)}}) for n in range(50)]
        await api.pass_time(1)
        before = len(api.broker.store.load().commits)
        await api.pass_time(101)
        assert {(await api.status(job))["failure"] for job in jobs} == {"rejected"}
        assert len(api.broker.store.load().commits) - before < 20


async def test_what_no_node_ever_offered_is_rejected_after_a_while(started: Started) -> None:
    async with started(reject_after=100, NODE_TIMEOUT=1000) as api:
        alone = await api.submit(requires={"gpu": True})
        await api.pass_time(200)
        assert (await api.status(alone))["status"] == "pending", "no node registered yet: it may come"
        await api.node()
        await api.pass_time(1)
        assert (await api.status(alone))["status"] == "pending"
        await api.pass_time(100)
        assert (await api.status(alone))["failure"] == "rejected"


async def test_what_the_node_gets_is_what_was_submitted(api: Api) -> None:
    node = await api.node()
    given: dict[str, Any] = {
        "args": ["-v", "ü"],
        "stdin": "in\x00put",
        "env": {"A": "b"},
        "files": {"d/x.txt": "text", "y.bin": {"base64": "AAE="}},
        "entrypoint": "d/main.py",
        "outputs": ["*.csv", "out/"],
        "memory_mb": 128,
        "cpu_seconds": 2.5,
    }
    await api.submit(**given)
    (job,) = await node.claim()
    assert {name: job[name] for name in given} == given
    await api.submit("plain")
    (plain,) = await node.claim()
    assert [plain[name] for name in ("args", "stdin", "env", "files", "entrypoint", "memory_mb")] == [
        [],
        None,
        {},
        {},
        None,
        None,
    ]
