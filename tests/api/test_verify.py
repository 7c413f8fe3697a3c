"""`verify`: what a client asks for and is told, and how it gets on with everything else that jobs can do."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from api.keyed import keyed
from api.rig import Api, Node, Started
from support.waiting import eventually

pytestmark = pytest.mark.anyio
TWO: dict[str, Any] = {"verify": {"replicas": 2, "quorum": 2}}


async def run(node: Node, job_id: str, **said: Any) -> dict[str, Any]:
    """Claim the job and complete it."""
    (job,) = await node.claim()
    assert job["id"] == job_id
    answer = await node.complete(job, **said)
    assert answer.json() == {"status": "ok"}, answer.text
    return job


async def test_the_life_of_a_verified_job(api: Api) -> None:
    a, b, c = await api.node(), await api.node(), await api.node()
    job_id = await api.submit(verify={"replicas": 3, "quorum": 2})
    asked = {"replicas": 3, "quorum": 2}
    status = await api.status(job_id)
    assert (status["verify"], status["waiting_for"]) == ({**asked, "results": 0, "equal": 0}, "a free slot")
    await run(a, job_id, output="42\n")
    status = await api.status(job_id)
    assert (status["status"], status["verify"]) == ("pending", {**asked, "results": 1, "equal": 1})
    assert status["waiting_for"] == "1 of 2 equal results; a free slot of a node that has not run it"
    assert (status["queue"]["reason"], status["queue"]["slots"]) == ("next", 8)
    assert status["explanation"].endswith("; 1 result has come, it takes 2 equal ones.")
    assert (await api.call("GET", f"/results/{job_id}")).status_code == 202
    assert await a.claim() == []
    await run(b, job_id, output="43\n")
    await run(c, job_id, output="42\n")
    result = await api.ok("GET", f"/results/{job_id}")
    assert (result["status"], result["output"], result["attempt"]) == ("completed", "42\n", 3)
    assert result["verify"] == {**asked, "results": 3, "equal": 2}
    job = await api.ok("GET", f"/jobs/{job_id}")
    digests = [attempt["result_sha256"] for attempt in job["attempts"]]
    assert result["verified"] == {"nodes": [a.id, c.id], "result_sha256": digests[0]}
    assert digests[0] == digests[2] != digests[1]
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["completed"] * 3
    nodes = (await api.ok("GET", "/nodes"))["nodes"]
    assert [node["jobs_completed"] for node in nodes] == [1, 1, 1]
    assert not api.broker.tally.pending, "what went to the queue came out of it"


async def test_results_that_differ(api: Api) -> None:
    a, b = await api.node(), await api.node()
    job_id = await api.submit(**TWO)
    await run(a, job_id, output="1")
    await run(b, job_id, output="2")
    result = await api.ok("GET", f"/results/{job_id}")
    assert (result["status"], result["failure"], result["exit_code"]) == ("failed", "verification", None)
    assert (result["output"], result["verified"]) == ("", None)
    assert result["error"] == (
        "Verification failed: 2 equal results of 2 nodes were asked for; 2 results came, at most 1 of them equal."
    )
    listed = await api.ok("GET", "/jobs?failure=verification")
    assert [job["job_id"] for job in listed["jobs"]] == [job_id]


async def test_an_ordinary_job_has_no_verification(api: Api) -> None:
    job_id = await api.submit()
    await run(await api.node(), job_id)
    result = await api.ok("GET", f"/results/{job_id}")
    assert (result["verify"], result["verified"]) == (None, None)


@pytest.mark.parametrize(
    ("verify", "sentence"),
    [
        ({"replicas": 1, "quorum": 1}, "verify.replicas: Input should be greater than or equal to 2"),
        ({"replicas": 10, "quorum": 2}, "verify.replicas: Input should be less than or equal to 9"),
        ({"replicas": 3, "quorum": 1}, "verify.quorum: Input should be greater than or equal to 2"),
        ({"replicas": 3, "quorum": 4}, "verify: quorum is at most replicas, here 3"),
        ({"quorum": 2}, "verify.replicas: is missing"),
        ({"replicas": 3, "nodes": 3}, "verify.nodes: is not a field of this call"),
        ({"replicas": "3"}, "verify.replicas: Input should be a valid integer"),
        ({"replicas": True}, "verify.replicas: Input should be a valid integer"),
        (2, "verify: must be a JSON object"),
    ],
)
async def test_what_cannot_be_asked_for(api: Api, verify: Any, sentence: str) -> None:
    answer = await api.call("POST", "/submit", {"code": "1", "verify": verify})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)


async def test_the_quorum_may_be_left_out_and_the_input_says_what_was_taken(api: Api) -> None:
    job_id = await api.submit(verify={"replicas": 5})
    assert (await api.status(job_id))["verify"]["quorum"] == 3
    given = await api.ok("GET", f"/jobs/{job_id}/input")
    assert given["verify"] == {"replicas": 5, "quorum": 3}
    del given["job_id"]
    await api.ok("POST", "/submit", given)


async def test_a_barred_claim_waits_on_while_another_is_woken(api: Api) -> None:
    a, b = await api.node(), await api.node()
    job_id = await api.submit(**TWO)
    (job,) = await a.claim()
    waiting = [asyncio.create_task(node.claim(wait=20)) for node in (a, b)]
    while len(api.broker.queue) < 2:  # noqa: ASYNC110  # bounded by the test's timeout
        await asyncio.sleep(0)
    await a.complete(job)
    (second,) = await waiting[1]
    assert (second["id"], second["fence"]) == (job_id, 2)
    assert not waiting[0].done()
    other = await api.submit()
    (third,) = await waiting[0]
    assert third["id"] == other


async def test_a_node_that_comes_back_is_the_same_node(api: Api) -> None:
    a = await api.node()
    job_id = await api.submit(**TWO)
    await run(a, job_id)
    again = await api.node(node_id=a.id, secret=a.secret)
    assert again.id == a.id
    assert await again.claim() == []
    await run(await api.node(), job_id)
    assert (await api.status(job_id))["status"] == "completed"


async def test_a_job_waits_for_dead_nodes_and_says_so_until_they_are_forgotten(started: Started) -> None:
    async with started(NODE_TIMEOUT=10, node_retention=1000, reject_after=100) as api:
        a, b = await api.node(), await api.node()
        job_id = await api.submit(**TWO)
        await run(a, job_id)
        await api.pass_time(20)
        await api.node(node_id=a.id, secret=a.secret)
        status = await api.status(job_id)
        assert status["waiting_for"] == "1 of 2 equal results; a live node that has not run it"
        assert status["explanation"] == (
            "Every live node that could run it has given its result, and it takes another node; 1 node that could went "
            "silent, about 20 s ago at last; 1 result has come, it takes 2 equal ones."
        )
        assert (status["queue"]["reason"], status["queue"]["slots"]) == ("another_node", 0)
        await api.pass_time(500)
        assert (await api.status(job_id))["status"] == "pending", "the other is known still"
        await api.node(node_id=a.id, secret=a.secret)
        await api.pass_time(600)  # now it is forgotten
        assert "it is given up at 20" in (await api.status(job_id))["explanation"]
        await api.pass_time(101)
        result = await api.ok("GET", f"/results/{job_id}")
        assert (result["failure"], result["error"]) == (
            "verification",
            "Verification failed: it takes 2 equal results; 1 result came, "
            "and no further node was there to run the job.",
        )
        assert b.id not in str(await api.ok("GET", "/nodes"))


async def test_it_goes_on_after_a_restart_of_the_broker(started: Started) -> None:
    async with started() as api:
        a, b = await api.node(), await api.node()
        job_id = await api.submit(**TWO)
        await run(a, job_id)
    async with started() as api:
        a.api = b.api = api
        assert await a.claim() == []
        await run(b, job_id)
        assert (await api.status(job_id))["status"] == "completed"
        assert api.broker.tally.pending.total() == 0


async def test_a_late_result_of_a_lost_replica_is_stale(started: Started) -> None:
    async with started(NODE_TIMEOUT=10) as api:
        a, b, c = await api.node(), await api.node(), await api.node()
        job_id = await api.submit(verify={"replicas": 3, "quorum": 3})
        (lost,) = await a.claim()
        await api.pass_time(11)  # all are silent: the job is taken from a
        await run(b, job_id)
        assert (await a.complete(lost)).status_code == 409
        assert (await api.status(job_id))["verify"]["results"] == 1
        await run(c, job_id)
        await run(a, job_id)
        assert (await api.status(job_id))["node_losses"] == 1
        assert (await api.ok("GET", f"/results/{job_id}"))["verified"]["nodes"] == [b.id, c.id, a.id]


async def test_draining_nodes_are_no_help(api: Api) -> None:
    a, b = await api.node(), await api.node()
    job_id = await api.submit(**TWO)
    await run(a, job_id)
    await api.ok("POST", f"/nodes/{b.id}/drain")
    status = await api.status(job_id)
    assert status["waiting_for"] == "1 of 2 equal results; a live node that has not run it"
    assert status["explanation"].startswith("The only node that could run it is draining; 1 result has come")
    await api.ok("POST", f"/nodes/{b.id}/resume")
    await run(b, job_id)


async def test_a_verified_result_is_cached_for_jobs_that_ask_for_as_much(api: Api) -> None:
    a, b = await api.node(), await api.node()
    plain = await api.submit(cache=True)
    await run(a, plain, output="unverified")
    job_id = await api.submit(cache=True, **TWO)
    assert (await api.status(job_id))["status"] == "pending", "an unverified success is no answer"
    await run(a, job_id, output="v")
    await run(b, job_id, output="v")
    again = await api.ok("POST", "/submit?wait=1", {"code": "print(1)", "cache": True, **TWO})
    assert (again["cached"], again["output"], again["verified"]["nodes"]) == (True, "v", [a.id, b.id])
    more = await api.submit(cache=True, verify={"replicas": 3, "quorum": 3})
    assert (await api.status(more))["status"] == "pending"


async def test_the_same_key_and_verification_is_the_same_job(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {"code": "1", **TWO}
    first = await api.ok("POST", "/submit", body, headers=headers)
    assert (await api.ok("POST", "/submit", body, headers=headers))["job_id"] == first["job_id"]
    other = await api.call("POST", "/submit", {"code": "1", "verify": {"replicas": 3}}, headers=headers)
    assert other.status_code == 409


async def put(api: Api, node: Node, job: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Send a file of an attempt, and name it."""
    sha256 = hashlib.sha256(content).hexdigest()
    headers = {"Sandrun-Node": node.id, "Sandrun-Session": node.session}
    path = f"/artifacts/{job['id']}/{sha256}?fence={job['fence']}"
    answer = await api.client.put(path, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return {"path": "f.txt", "sha256": sha256, "size": len(content)}


async def test_files_of_the_result_that_counts_are_kept_and_no_others(api: Api) -> None:
    nodes = [await api.node() for _ in range(3)]
    job_id = await api.submit(verify={"replicas": 3, "quorum": 2})
    for node, content in zip(nodes, (b"right", b"a lie", b"right"), strict=True):
        (job,) = await node.claim()
        file = await put(api, node, job, content)
        assert (await node.complete(job, artifacts=[file])).json() == {"status": "ok"}
        await api.broker.reaper.tick()
    result = await api.ok("GET", f"/results/{job_id}")
    (kept,) = result["artifacts"]
    assert (await api.client.get(kept["download_url"])).content == b"right"
    assert (len(api.broker.folder), api.broker.folder.stored_bytes) == (1, 5)


async def test_files_of_an_unverified_job_are_not_kept(api: Api) -> None:
    job_id = await api.submit(**TWO)
    for content in (b"one", b"two"):
        node = await api.node()
        (job,) = await node.claim()
        await node.complete(job, artifacts=[await put(api, node, job, content)])
    await api.broker.reaper.tick()
    assert (await api.ok("GET", f"/results/{job_id}"))["artifacts"] == []
    assert len(api.broker.folder) == 0


async def test_a_verified_job_costs_its_submitter_the_places_of_its_runs(api: Api) -> None:
    """Between the jobs of the one who has everything verified come those of the other, as many as it takes runs."""
    await api.submit(interpreter="ruby")  # the queue is never empty: nobody's place is forgotten
    for _ in range(2):
        await api.submit(submitter="much", verify={"replicas": 3, "quorum": 3})
    for _ in range(4):
        await api.submit(submitter="little")
    node = await api.node(slots=8)
    order = []
    for _ in range(6):
        (job,) = await node.claim()
        order.append((await api.status(job["id"]))["submitter"])
        await node.complete(job)
    assert order.index("much", 1) == 4, order


async def test_too_many_classes_refuse_verified_jobs(started: Started) -> None:
    async with started(max_classes=1) as api:
        await api.submit()
        answer = await api.call("POST", "/submit", {"code": "1", **TWO})
        assert answer.status_code == 503
        await api.submit()


async def test_a_follower_hears_of_every_attempt(api: Api) -> None:
    a, b = await api.node(), await api.node()
    job_id = await api.submit(**TWO)
    await run(a, job_id, output="same")
    await run(b, job_id, output="same")
    text = (await api.client.get(f"/logs/{job_id}", headers={"Accept": "text/event-stream"})).text
    assert text.count("event: attempt") == 1, "who comes late sees the attempt that counts"
    assert '"text":"same"' in text
    assert '"status":"completed"' in text


async def test_every_run_is_metered_and_the_job_counts_once(started: Started) -> None:
    async with keyed(started) as api:
        key = await api.key("client", jobs_unfinished=1)
        job_id = (await api.ok("POST", "/submit", {"code": "1", **TWO}, key=key))["job_id"]
        for cpu in (3, 4):
            full = await api.call("POST", "/submit", {"code": "2"}, key=key)
            assert full.status_code == 429, "it is one unfinished job until it ends"
            await run(await api.join(), job_id, usage={"cpu_seconds": cpu})
        rows = {row["outcome"]: row for row in (await api.ok("GET", "/usage", key=key))["owners"][0]["today"]}
        assert (rows["submitted"]["count"], rows["completed"]["count"], rows["completed"]["cpu_seconds"]) == (1, 2, 7)
        await api.ok("POST", "/submit", {"code": "2"}, key=key)


async def test_an_upload_can_be_verified(api: Api) -> None:
    manifest = json.dumps({"entrypoint": "main.py", **TWO})
    parts: list[Any] = [("files", ("main.py", b"print(1)")), ("manifest", (None, manifest))]
    job_id = (await api.client.post("/submit", files=parts)).json()["job_id"]
    for _ in range(2):
        node = await api.node()
        job = await run(node, job_id)
        assert [file["name"] for file in job["uploads"]] == ["main.py"]
    status = await api.status(job_id)
    assert (status["status"], status["verify"]["equal"]) == ("completed", 2)


async def test_each_job_of_a_batch_is_verified_as_it_asks(api: Api) -> None:
    jobs = [{"code": "1", **TWO}, {"code": "2"}]
    ids = (await api.ok("POST", "/submit/batch", {"jobs": jobs}))["job_ids"]
    node = await api.node()
    for _ in range(2):
        (job,) = await node.claim()
        await node.complete(job)
    assert [(await api.status(job_id))["status"] for job_id in ids] == ["pending", "completed"]
    wrong = await api.call("POST", "/submit/batch", {"jobs": [{"code": "1", "verify": {"replicas": 2, "quorum": 3}}]})
    assert wrong.status_code == 422
    assert wrong.json()["error"] == "jobs.0.verify: quorum is at most replicas, here 2"


async def test_one_webhook_at_the_end_of_all_runs(started: Started) -> None:
    async with started() as api:
        job_id = await api.submit(callback_url="http://127.0.0.1:9/", **TWO)
        await run(await api.node(), job_id, output="1")
        (owed,) = (await api.ok("GET", f"/jobs/{job_id}/webhooks"))["webhooks"]
        assert (owed["state"], owed["attempts"]) == ("owed", 0), "a result that decides nothing is no end"
        await run(await api.node(), job_id, output="2")

        async def told() -> bool:
            (webhook,) = (await api.ok("GET", f"/jobs/{job_id}/webhooks"))["webhooks"]
            return bool(webhook["attempts"])

        await eventually(told, what="the end is told")
