"""The README's quick start, word for word, and every interpreter, on three real nodes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.waiting import wait_until

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()

HELLO = {
    "python3": 'print("hello", 6 * 7)',
    "node": 'console.log("hello", 6 * 7)',
    "bash": 'echo "hello $((6 * 7))" <(true) >/dev/null; echo "hello $((6 * 7))"',
    "sh": 'echo "hello $((6 * 7))"',
    "ruby": 'puts "hello #{6 * 7}"',
    "perl": 'print "hello ", 6 * 7, "\\n";',
}


def test_readme_quick_start_word_for_word(bundle: Bundle) -> None:
    snippet = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "Hello distributed" in block)
    program = snippet.replace("http://localhost:8000", bundle.url)
    # "after a moment; 202 until then": the last two lines are repeated until the output is there.
    submit, fetch = program.rsplit("results = ", 1)
    fetch_line = "results = " + fetch.splitlines()[0]
    program = f"{submit}\nresults = None\nwhile results is None or results.status_code == 202:\n    {fetch_line}\n"
    program += "\n".join(fetch.splitlines()[1:])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=150)
    assert run.stdout == "Hello distributed world!\n\n", run.stderr


@pytest.mark.parametrize("interpreter", HELLO)
def test_every_interpreter_runs(bundle: Bundle, interpreter: str) -> None:
    result = bundle.run(HELLO[interpreter], interpreter)
    assert (result["status"], result["output"], result["error"], result["exit_code"]) == (
        "completed", "hello 42\n", "", 0,
    ), result  # fmt: skip


def test_interpreters_are_detected_with_versions(bundle: Bundle) -> None:
    for node in bundle.wait_for_nodes(3):
        assert set(HELLO) <= set(node["capabilities"]["interpreters"])
        assert node["capabilities"]["interpreter_versions"]["python3"].startswith("3.")
        assert node["capabilities"]["isolation"] == "namespaces"


def test_failed_program_keeps_its_own_exit_code_and_streams(bundle: Bundle) -> None:
    result = bundle.run('import sys; print("out"); print("err", file=sys.stderr); sys.exit(7)')
    assert (result["status"], result["exit_code"], result["failure"]) == ("failed", 7, "exit")
    assert (result["output"], result["error"]) == ("out\n", "err\n")


def test_time_limit_is_a_verdict(bundle: Bundle) -> None:
    result = bundle.run('print("begun", flush=True)\nwhile True: pass', timeout=4)
    assert (result["status"], result["failure"], result["output"]) == ("failed", "timeout", "begun\n")


def test_status_and_results_while_the_job_runs(bundle: Bundle) -> None:
    job_id = bundle.submit("import time; time.sleep(6); print('done')")
    status: dict[str, Any] = wait_until(
        lambda: (s := bundle.get(f"/status/{job_id}").json())["status"] == "running" and s,
        seconds=120,
        what="running",
    )
    early = bundle.get(f"/results/{job_id}")
    assert status["node_id"] in {node["id"] for node in bundle.wait_for_nodes(3)}
    assert status["completed_at"] is None
    assert (early.status_code, early.json()["error"], early.json()["status"]) == (
        202,
        "Job not completed",
        "running",
    )
    assert bundle.result(job_id)["output"] == "done\n"
    assert bundle.get(f"/status/{job_id}").json()["completed_at"] is not None


def test_three_nodes_share_one_endpoint_and_are_three(bundle: Bundle) -> None:
    nodes = bundle.wait_for_nodes(3)
    assert len({node["id"] for node in nodes}) == 3
    assert len({node["endpoint"] for node in nodes}) == 1


def test_health_counts_jobs_and_nodes(bundle: Bundle) -> None:
    health = bundle.get("/health").json()
    assert health["status"] == "healthy"
    assert health["active_nodes"] >= 3
    assert isinstance(health["jobs"], int)


def test_a_clients_request_id_is_in_the_log_of_broker_agent_and_sandrun(bundle: Bundle) -> None:
    """At the default level: `docker compose logs | grep ID` tells where a job went and how it ended."""
    body = {"code": "print(1)"}
    answer = bundle.http.post(f"{bundle.url}/submit", json=body, headers={"X-Request-Id": "nightly-8"}, timeout=60)
    job_id = answer.json()["job_id"]
    bundle.result(job_id)

    def said() -> list[dict[str, Any]]:
        printed = "".join(bundle.logs(container) for container in bundle.containers)
        return [json.loads(line) for line in printed.splitlines() if "nightly-8" in line]

    def events() -> set[tuple[str, str]]:
        return {(line["source"].split(".")[0], line["event"]) for line in said()}

    wanted = {
        ("broker", "job was submitted"),
        ("agent", "attempt_started"),
        ("sandrun", "job started"),
        ("sandrun", "job ended"),
        ("agent", "attempt_ended"),
    }
    wait_until(lambda: wanted <= events(), seconds=60, what=f"{wanted - events()} in {said()}")
    lines = [line for line in said() if line["event"].startswith("attempt_")]
    assert {(line["job"], line["attempt"], line["fence"]) for line in lines} == {(job_id, 1, 1)}
    assert {line["node"] for line in lines} == {bundle.get(f"/status/{job_id}").json()["node_id"]}
    runs = [line for line in said() if line["source"].startswith("sandrun")]
    assert {line["request"] for line in runs} == {f"{job_id}.1"}
    assert {line["job"] for line in runs} == {line["sandrun_job"] for line in lines if "sandrun_job" in line}


def test_many_jobs_spread_over_all_nodes(bundle: Bundle) -> None:
    jobs = [{"code": f"import time; time.sleep(0.3); print({n} ** 2)"} for n in range(24)]
    accepted = bundle.post("/submit/batch", {"jobs": jobs}).json()["job_ids"]  # all are there at once
    results = [bundle.result(job_id) for job_id in accepted]
    assert [result["output"] for result in results] == [f"{n**2}\n" for n in range(24)]
    assert len({result["node_id"] for result in results}) == 3
