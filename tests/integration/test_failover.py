"""The first failover test: SIGKILL one of three node containers under load."""

from collections import Counter
from typing import Any

from support.bundle import Bundle, wait_until, wrapped

JOBS = 6


def test_killed_node_loses_no_job_and_doubles_none() -> None:
    with Bundle(nodes=0) as bundle:
        containers = {}
        for count in range(1, 4):
            container = bundle.start_node({"NODE_SLOTS": "2"})
            nodes = bundle.wait_for_nodes(count)
            containers.update({node["id"]: container for node in nodes if node["id"] not in containers})
        jobs = [bundle.submit(f"import time; time.sleep(3); print('job', {n} ** 3)") for n in range(JOBS)]

        def all_running() -> dict[str, str]:
            statuses = [bundle.get(f"/status/{job_id}").json() for job_id in jobs]
            placed = {status["job_id"]: status["node_id"] for status in statuses if status["status"] == "running"}
            return placed if len(placed) == JOBS else {}

        placed = wait_until(all_running, seconds=30, what="every job runs")
        assert Counter(placed.values()) == dict.fromkeys(containers, 2), "two running jobs on each node"

        victim = placed[jobs[0]]
        wrapped(containers[victim]).kill("SIGKILL")
        results = {job_id: bundle.result(job_id) for job_id in jobs}

        for n, job_id in enumerate(jobs):
            result = results[job_id]
            assert (result["status"], result["output"], result["exit_code"]) == (
                "completed",
                f"job {n**3}\n",
                0,
            ), result
            attempts = attempts_of(bundle, job_id)
            ended_well = [attempt for attempt in attempts if attempt["outcome"] == "completed"]
            assert len(ended_well) == 1, "exactly one attempt has a result"
            if placed[job_id] == victim:
                assert attempts[0]["node_id"] == victim
                assert result["node_id"] != victim
                assert [attempt["attempt"] for attempt in attempts] == [1, 2]
                assert attempts[0]["outcome"] == "node_lost"
            else:
                assert len(attempts) == 1
        completed = Counter(result["node_id"] for result in results.values())
        for node in bundle.get("/nodes").json()["nodes"]:
            assert node["jobs_completed"] == completed.get(node["id"], 0), "counters equal accepted results"


def attempts_of(bundle: Bundle, job_id: str) -> list[dict[str, Any]]:
    attempts: list[dict[str, Any]] = bundle.get(f"/jobs/{job_id}").json()["attempts"]
    return attempts
