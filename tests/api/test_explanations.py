"""Why a job waits and why one failed: a sentence that is true, and the numbers behind it."""

import re
from typing import Any

import pytest

from api.rig import Api, Node, Started
from broker.domain.sentences import about

pytestmark = pytest.mark.anyio
AT = r"2026-09-21T\d\d:\d\d:\d\d(\.\d+)?\+00:00"
KEYS = {"reason", "position", "ahead", "more", "estimate_seconds", "slots", "slots_free", "run_at", "rejected_at"}


async def why(api: Api, job_id: str) -> tuple[str, dict[str, Any]]:
    """The explanation, which both calls give, and the queue."""
    status, job = await api.status(job_id), await api.ok("GET", f"/jobs/{job_id}")
    (listed,) = [each for each in (await api.ok("GET", "/jobs"))["jobs"] if each["job_id"] == job_id]
    assert status["explanation"] == job["explanation"]
    assert status["queue"] == job["queue"]
    assert listed["queue"].keys() == KEYS
    assert listed["queue"]["reason"] in (job["queue"]["reason"], "next")
    assert listed["explanation"].endswith(".")
    queue: dict[str, Any] = job["queue"]
    return job["explanation"], queue


def is_sentence(text: str) -> bool:
    return text[0].isupper() and text.endswith(".") and text.count(". ") == 0 and "\n" not in text


async def run_one(api: Api, node: Node, seconds: float, **given: Any) -> None:
    """A job of this class that took so long."""
    await api.submit(**given)
    (job,) = await node.claim()
    await api.ok("POST", "/start", {**node.who, "jobs": [{"job_id": job["id"], "fence": job["fence"]}]})
    api.clock.advance(seconds)
    assert (await node.complete(job)).status_code == 200


async def test_nobody_is_there(api: Api) -> None:
    job_id = await api.submit()
    text, queue = await why(api, job_id)
    assert text == "No node has registered."
    assert (queue["reason"], queue["position"], queue["slots"], queue["rejected_at"]) == ("no_nodes", None, 0, None)
    await api.node()
    await api.pass_time(90)
    text, queue = await why(api, job_id)
    assert text == "No node is live: the one known node is silent, the last was heard about 90 s ago."
    assert queue["reason"] == "no_nodes"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"interpreter": "ruby"}, "No live node offers ruby"),
        ({"requires": {"gpu": True}}, "No live node has a GPU"),
        ({"memory_mb": 9000}, "No live node has 9024 MiB of memory for one job"),
        ({"requires": {"min_cpu_cores": 64}}, "No live node has 64 CPU cores"),
        ({"requires": {"region": "eu"}}, "No live node is in region eu"),
        ({"requires": {"labels": {"zone": "a"}}}, "No live node has the label zone=a"),
        ({"interpreter": "ruby", "requires": {"gpu": True}}, "No live node offers ruby, and none has a GPU"),
    ],
)
async def test_nobody_offers_what_it_asks_for(api: Api, wish: dict[str, Any], words: str) -> None:
    await api.node(capabilities={"max_memory_mb": 512, "cpu_cores": 4})
    job_id = await api.submit(**wish)
    text, queue = await why(api, job_id)
    assert text.startswith(f"{words}; it is rejected at 2026-09-21T")
    assert text.endswith("unless one comes.")
    assert is_sentence(text)
    assert (queue["reason"], queue["slots"], queue["ahead"]) == ("no_match", 0, None)
    rejected_at = queue["rejected_at"]
    assert rejected_at in text
    await api.pass_time(0)
    await api.pass_time(299)
    assert (await why(api, job_id))[1]["rejected_at"] == rejected_at
    await api.pass_time(2)
    job = await api.ok("GET", f"/jobs/{job_id}")
    assert (job["failure"], job["queue"]) == ("rejected", None)
    assert job["explanation"].startswith("No node could run the job: none came with ")


async def test_each_wish_is_met_but_by_different_nodes(api: Api) -> None:
    await api.node("ruby")
    await api.node(capabilities={"gpu": True})
    text, _ = await why(api, await api.submit(interpreter="ruby", requires={"gpu": True}))
    assert text.startswith("No single live node has a GPU and offers ruby; it is rejected at ")


async def test_those_that_could_drain_or_went_silent(api: Api) -> None:
    ruby, other = await api.node("ruby"), await api.node()
    job_id = await api.submit(interpreter="ruby")
    await api.ok("POST", f"/nodes/{ruby.id}/drain")
    assert await why(api, job_id) == (
        "The only node that could run it is draining.",
        {**dict.fromkeys(KEYS), "reason": "draining", "more": False, "slots": 0, "slots_free": 0},
    )
    await api.pass_time(50)
    await other.beat()
    await api.pass_time(30)
    text, queue = await why(api, job_id)
    assert text == "No live node offers ruby; 1 node that could went silent, about 80 s ago at last."
    assert (queue["reason"], queue["rejected_at"]) == ("no_match", None)
    more = await api.node("ruby")
    await more.beat(draining=True)
    text, queue = await why(api, job_id)
    assert text == "No node that could run it takes jobs: 1 is silent and 1 is draining."
    assert queue["reason"] == "draining"


async def test_a_place_in_line_and_an_estimate(api: Api) -> None:
    node = await api.node(slots=2)
    for _ in range(30):
        await run_one(api, node, 10.0)
    held = [(await api.submit(), await node.claim()) for _ in range(2)]
    assert all(claimed for _, claimed in held)
    waiting = [await api.submit() for _ in range(15)]
    text, queue = await why(api, waiting[14])
    assert re.fullmatch(r"All 2 slots are busy, 14 jobs are ahead, about 7\d s\.", text)
    assert queue == {
        "reason": "busy", "position": 15, "ahead": 14, "more": False, "estimate_seconds": pytest.approx(77.5, rel=0.03),
        "slots": 2, "slots_free": 0, "run_at": None, "rejected_at": None,
    }  # fmt: skip
    text, queue = await why(api, waiting[0])
    assert re.fullmatch(r"All 2 slots are busy, it is next, about (9\.\d|10) s\.", text)
    assert (queue["position"], queue["ahead"]) == (1, 0)
    api.clock.advance(4)
    assert (await why(api, waiting[0]))[1]["estimate_seconds"] == pytest.approx(6.0, rel=0.1)
    # A higher priority goes before them all.
    urgent = await api.submit(priority=9)
    assert (await why(api, urgent))[1]["position"] == 1
    assert (await why(api, waiting[0]))[1]["position"] == 2
    # What other nodes only can run is not ahead.
    await api.submit(interpreter="ruby", priority=9)
    assert (await why(api, waiting[0]))[1]["position"] == 2


async def test_a_free_slot_means_next(api: Api) -> None:
    await api.node(slots=3)
    first, second = await api.submit(), await api.submit()
    text, queue = await why(api, first)
    assert text == "About to be claimed: 3 of 3 slots that can run it are free."
    assert (queue["reason"], queue["position"], queue["estimate_seconds"]) == ("next", 1, 0.0)
    assert (await why(api, second))[0] == "About to be claimed: 3 of 3 slots that can run it are free, 1 job ahead."


async def test_without_experience_there_is_no_estimate(api: Api) -> None:
    node = await api.node(slots=1)
    await api.submit()
    assert await node.claim()
    text, queue = await why(api, await api.submit())
    assert text == "The only slot that can run it is busy, it is next."
    assert (queue["position"], queue["estimate_seconds"]) == (1, None)


async def test_more_are_counted_by_one_call_than_by_the_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await api.node(slots=1)
    for _ in range(5):
        await run_one(api, node, 10.0)
    await api.submit()
    await node.claim()
    jobs = [{"code": "x"}] * 1000
    for _ in range(11):
        ids = (await api.ok("POST", "/submit/batch", {"jobs": jobs}))["job_ids"]
    status, job = await api.status(ids[-1]), await api.ok("GET", f"/jobs/{ids[-1]}")
    assert (status["queue"]["ahead"], status["queue"]["more"], status["queue"]["position"]) == (1000, True, None)
    assert (job["queue"]["ahead"], job["queue"]["more"], job["queue"]["position"]) == (10_000, True, None)
    assert "more than 10,000 jobs are ahead, about " in job["explanation"]
    for queue in (status["queue"], job["queue"]):
        assert 100_000 < queue["estimate_seconds"] < 120_000, "10,999 jobs of 10 s, by the shares' own account"


async def test_backing_off(api: Api) -> None:
    job_id = await api.submit()
    for _ in range(2):
        node = await api.node()
        (job,) = await node.claim()
        await api.pass_time(61)
    text, queue = await why(api, job_id)
    assert text.startswith("Backing off until 2026-09-21T")
    assert text.endswith(", after its node was lost twice.")
    assert (queue["reason"], queue["position"]) == ("backoff", None)
    assert queue["run_at"] in text
    assert job["attempt"] == 2


async def test_backing_off_after_different_ends(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit(retry_on=["exit"])
    (job,) = await node.claim()
    await node.complete(job, failure="platform", message="no sandbox")
    await api.pass_time(2)
    (job,) = await node.claim()
    await node.complete(job, exit_code=3)
    text, queue = await why(api, job_id)
    assert text.endswith(", after its executor failed once and its program failed once.")
    assert (queue["reason"], queue["slots"], queue["slots_free"]) == ("backoff", 4, 4)


async def test_its_start_time_and_its_deadline(api: Api) -> None:
    await api.node()
    job_id = await api.submit(not_before=7200, deadline=9000)
    text, queue = await why(api, job_id)
    assert text.startswith("It is not to start before 2026-09-21T")
    assert ", in about 2 h; it is given up at 2026-09-21T" in text
    assert (queue["reason"], queue["estimate_seconds"], queue["position"]) == ("not_before", 7200.0, None)
    await api.pass_time(9001)
    job = await api.ok("GET", f"/jobs/{job_id}")
    assert job["explanation"] == f"The job's deadline, {job['deadline']}, passed while it was pending."


async def test_an_identical_job_is_under_way(api: Api) -> None:
    node = await api.node()
    first, second = await api.submit(cache=True), await api.submit(cache=True)
    assert (await why(api, second))[1]["reason"] == "identical"
    assert (await api.status(second))["explanation"] == (
        f"An identical job, {first}, is pending: its success will be this one's too."
    )
    (job,) = await node.claim()
    assert f"{first}, is assigned:" in (await api.status(second))["explanation"]
    await node.complete(job)
    assert (await api.status(second))["explanation"] is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"exit_code": 7}, "The program ended with exit code 7."),
        ({"exit_code": None, "failure": "signal", "signal": 11}, "The program was ended by signal 11 (SIGSEGV)."),
        ({"exit_code": None, "failure": "signal"}, "The program was ended by a signal."),
        (
            {"failure": "memory", "limit": {"name": "memory_mb", "value": 512, "peak": 530.25}},
            "The program's memory reached 530.2 MiB; the limit is 512 MiB.",
        ),
        (
            {"failure": "memory", "limit": {"name": "memory_mb", "value": 512, "peak": 1e308}},
            "The program's memory reached 1.0e+308 MiB; the limit is 512 MiB.",
        ),
        (
            {"failure": "timeout", "limit": {"name": "timeout", "value": 60.0, "peak": 60.004}},
            "The program ran for 60 s; the limit is 60 s.",
        ),
        ({"failure": "timeout"}, "The program ran longer than its timeout of 300 s."),
        (
            {"failure": "cpu", "limit": {"name": "cpu_seconds", "value": 10, "peak": 10.21}},
            "The program used 10.21 s of CPU time; the limit is 10 s of CPU time.",
        ),
        (
            {"failure": "output", "limit": {"name": "output_mb", "value": 8, "peak": 9.5}},
            "The program printed 9.5 MiB; the limit is 8 MiB.",
        ),
        (
            {"failure": "disk", "limit": {"name": "disk_mb", "value": 64, "peak": 65.5}},
            "The program's files took 65.5 MiB; the limit is 64 MiB.",
        ),
        (
            {"failure": "disk", "limit": {"name": "inodes", "value": 20000, "peak": 20001}},
            "The program made 20,001 files; the limit is 20,000 files.",
        ),
        (
            {"failure": "processes", "limit": {"name": "processes", "value": 64, "peak": 65}},
            "The program had 65 processes; the limit is 64 processes.",
        ),
        ({"failure": "processes"}, "The program had more processes than its limit."),
        (
            {"failure": "rejected", "message": "x.zip: not a zip file"},
            "No node could run the job: x.zip: not a zip file.",
        ),
    ],
)
async def test_verdicts(api: Api, said: dict[str, Any], words: str) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    assert (await node.complete(job, **{"exit_code": 1} | said)).status_code == 200
    seen = await api.ok("GET", f"/jobs/{job_id}")
    assert (seen["explanation"], seen["queue"], seen["waiting_for"]) == (words, None, None)
    assert (await api.status(job_id))["explanation"] == words
    assert (await api.ok("GET", f"/results/{job_id}"))["explanation"] == words


async def test_failures_of_nodes(started: Started) -> None:
    async with started(max_retries=1) as api:
        lost, platform, kept = await api.submit(), await api.submit(), await api.submit(timeout=5)
        for _ in range(2):
            node = await api.node()
            jobs = {job["id"]: job for job in await node.claim(max_jobs=3)}
            await node.complete(jobs[platform], failure="platform", message="no\nsandbox")
            await api.ok("POST", "/start", {**node.who, "jobs": [{"job_id": kept, "fence": jobs[kept]["fence"]}]})
            await api.pass_time(25)
            await api.pass_time(61)
        said = [(await api.ok("GET", f"/jobs/{job_id}"))["explanation"] for job_id in (lost, platform, kept)]
        assert said == [
            "The job's node was lost, the last of 2 losses of all kinds; the limit is 1 retry.",
            "The executor failed, the last of 2 losses of all kinds; the limit is 1 retry; the last time: no\nsandbox.",
            "The job's node kept it beyond its timeout of 5 s, the last of 2 losses of all kinds; "
            "the limit is 1 retry.",
        ]
        assert (await api.ok("GET", f"/results/{lost}"))["error"] == said[0]


async def test_different_losses_are_not_told_as_the_same(started: Started) -> None:
    async with started(max_retries=1) as api:
        job_id = await api.submit()
        node = await api.node()
        (job,) = await node.claim()
        await node.complete(job, failure="platform", message="no sandbox")
        await api.pass_time(2)
        assert await node.claim()
        await api.pass_time(61)
        text = (await api.ok("GET", f"/jobs/{job_id}"))["explanation"]
        assert text == "The job's node was lost, the last of 2 losses of all kinds; the limit is 1 retry."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "under a second"), (99.4, "about 99 s"), (99.7, "about 2 min"), (5399, "about 90 min"), (5400, "about 2 h")],
)
def test_times_are_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


async def test_runs_that_retry_on_asked_for(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit(retry_on=["exit"], max_retries=1)
    for _ in range(2):
        (job,) = await node.claim()
        await node.complete(job, exit_code=4)
        await api.pass_time(2)
    text = (await api.status(job_id))["explanation"]
    assert text == "The program ended with exit code 4; the program failed twice in all."


async def test_a_running_job_needs_no_explanation(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit()
    await node.claim()
    job = await api.ok("GET", f"/jobs/{job_id}")
    assert (job["explanation"], job["queue"], job["waiting_for"]) == (None, None, None)


async def test_the_database_refuses_changes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.node()
    job_id = await api.submit()
    monkeypatch.setattr(api.broker.store, "trouble", lambda: "disk I/O error")
    text, queue = await why(api, job_id)
    assert text == "The broker's database refuses changes, so that nothing is handed out."
    assert (queue["reason"], queue["position"], queue["estimate_seconds"]) == ("store", 1, None)
