"""Verified jobs on real containers: three nodes that agree, programs that cannot, and a node that makes results up."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from support.bundle import Bundle

HONEST = "open('f.txt','w').write('6 * 7 = 42')\nprint(6 * 7)\n"


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle(nodes=3) as bundle:
        yield bundle


def attempts_of(bundle: Bundle, job_id: str) -> list[dict[str, Any]]:
    attempts: list[dict[str, Any]] = bundle.get(f"/jobs/{job_id}").json()["attempts"]
    return attempts


def real_nodes(bundle: Bundle) -> set[str]:
    return {node["id"] for node in bundle.wait_for_nodes(3) if node["name"] != "liar"}


@pytest.mark.parametrize("quorum", [2, 3])
def test_nodes_that_agree_make_a_verified_result(bundle: Bundle, quorum: int) -> None:
    result = bundle.run(HONEST, outputs=["f.txt"], verify={"replicas": 3, "quorum": quorum})
    assert (result["status"], result["output"]) == ("completed", "42\n"), result
    assert result["verify"] == {"replicas": 3, "quorum": quorum, "results": quorum, "equal": quorum}
    nodes = result["verified"]["nodes"]
    assert len(set(nodes)) == quorum
    assert set(nodes) <= real_nodes(bundle)
    attempts = attempts_of(bundle, result["job_id"])
    assert [attempt["node_id"] for attempt in attempts] == nodes
    assert {attempt["result_sha256"] for attempt in attempts} == {result["verified"]["result_sha256"]}
    (file,) = result["artifacts"]
    assert bundle.get(file["download_url"]).content == b"6 * 7 = 42"


@pytest.mark.parametrize(
    "code",
    [
        "import os; print(os.urandom(8).hex())",
        "import sys, time; print(time.time_ns(), file=sys.stderr)",
        "import os; open('f.txt','wb').write(os.urandom(8))",
    ],
    ids=["output", "error", "file"],
)
def test_a_program_that_differs_from_run_to_run_cannot_be_verified(bundle: Bundle, code: str) -> None:
    result = bundle.run(code, outputs=["f.txt"], verify={"replicas": 3, "quorum": 2})
    assert (result["status"], result["failure"], result["output"]) == ("failed", "verification", ""), result
    assert (result["artifacts"], result["verified"]) == ([], None)
    attempts = attempts_of(bundle, result["job_id"])
    assert len({attempt["node_id"] for attempt in attempts}) == 3
    assert len({attempt["result_sha256"] for attempt in attempts}) == 3
    assert [attempt["outcome"] for attempt in attempts] == ["completed"] * 3


def test_a_failure_that_all_nodes_see_is_the_programs(bundle: Bundle) -> None:
    result = bundle.run("print('no')\nraise ValueError('as everywhere')", verify={"replicas": 2})
    assert (result["status"], result["failure"], result["exit_code"], result["output"]) == ("failed", "exit", 1, "no\n")
    assert "ValueError: as everywhere" in result["error"], "with its traceback, paths and all"
    assert len(result["verified"]["nodes"]) == 2


def test_a_node_that_makes_results_up_is_outvoted(bundle: Bundle) -> None:
    """It is asked first, because the honest nodes are drained until it has given its result."""
    honest = real_nodes(bundle)
    for node_id in honest:
        assert bundle.post(f"/nodes/{node_id}/drain", {}).status_code == 200
    capabilities = {"cpu_cores": 64, "memory_gb": 256, "gpu": True, "interpreters": ["python3"]}
    body = {"endpoint": "http://localhost:8443", "capabilities": capabilities, "slots": 1, "name": "liar"}
    said = bundle.post("/register", body).json()
    who = {"node_id": said["node_id"], "session": said["session"]}
    job_id = bundle.submit(HONEST, verify={"replicas": 3, "quorum": 2})
    job = bundle.post("/claim", {**who, "wait": 25}).json()["job"]
    lie = {"job_id": job_id, "fence": job["fence"], "output": "43\n", "error": "", "exit_code": 0}
    assert bundle.post("/complete", who | lie).json() == {"status": "ok"}
    status = bundle.get(f"/status/{job_id}").json()
    assert (status["status"], status["verify"]["results"]) == ("pending", 1)
    assert status["waiting_for"] == "1 of 2 equal results; a live node that has not run it"
    again = bundle.post("/claim", {**who, "wait": 1}).json()
    assert again["job"] is None, "it cannot confirm its own lie"
    for node_id in honest:
        assert bundle.post(f"/nodes/{node_id}/resume", {}).status_code == 200
    result = bundle.result(job_id)
    assert (result["status"], result["output"]) == ("completed", "42\n"), result
    assert set(result["verified"]["nodes"]) < honest
    lies = [attempt for attempt in attempts_of(bundle, job_id) if attempt["node_id"] == said["node_id"]]
    assert [attempt["output_sha256"] for attempt in lies] == [hashlib.sha256(b"43\n\x00").hexdigest()]
    bundle.post("/heartbeat", {**who, "held": [], "draining": True})


def test_the_order_of_a_python_set_agrees_with_a_fixed_hash_seed(bundle: Bundle) -> None:
    """As docs/whole-jobs.md says. Without it 16 texts come in one of 16! orders."""
    code = "print({str(n) for n in range(16)})"
    result = bundle.run(code, env={"PYTHONHASHSEED": "0"}, verify={"replicas": 3, "quorum": 3})
    assert (result["status"], result["verify"]["equal"]) == ("completed", 3), result
    assert bundle.run(code, verify={"replicas": 2})["failure"] == "verification"
