"""Everyday jobs through broker and agent on a sandrun that is not ours."""

import hashlib
import io
import tarfile
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from foreign.rig import Rig, rigs


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    yield from rigs(tmp_path_factory.mktemp("whole"), "--environments", "ml,web", BROKER_REJECT_AFTER="4")


@pytest.mark.parametrize(
    ("interpreter", "code", "entrypoint"),
    [
        ("python3", "import sys\nprint('hello', sys.argv)", "main.py"),
        ("node", "console.log('hello', process.argv.slice(1))", "index.js"),
        ("bash", "echo hello $0 $@", "run.sh"),
        ("sh", "echo hello $0 $@", "run.sh"),
        ("perl", "print 'hello ', $0, \" @ARGV\\n\"", "main.pl"),
    ],
)
def test_hello_world_from_a_file_named_after_the_interpreter(
    rig: Rig, interpreter: str, code: str, entrypoint: str
) -> None:
    result = rig.result(rig.submit(code, interpreter=interpreter, args=["one two"]))
    assert (result["status"], result["exit_code"]) == ("completed", 0), result
    assert result["output"].startswith("hello")
    assert entrypoint in result["output"]
    assert "one two" in result["output"]


def test_exit_code_and_error_output(rig: Rig) -> None:
    job = rig.submit("import sys\nprint('why', file=sys.stderr)\nsys.exit(7)")
    result = rig.result(job)
    assert (result["status"], result["failure"], result["exit_code"]) == ("failed", "exit", 7)
    assert result["error"] == "why\n"
    assert rig.outcomes(job) == ["failed"]


def test_agent_gives_up_on_time_and_the_next_job_runs_when_the_old_one_has_ended(rig: Rig) -> None:
    job = rig.submit("sleep 4; echo late", interpreter="bash", timeout=0.5)
    result = rig.result(job)
    assert (result["failure"], result["limit"]["name"], result["limit"]["value"]) == ("timeout", "timeout", 0.5)
    assert "0.5 s" in rig.job(job)["explanation"]
    assert rig.outcomes(job) == ["failed"], "given up once"
    after = rig.submit()
    assert rig.result(after)["output"] == "hello\n"
    assert rig.outcomes(after) == ["completed"]


def test_running_job_is_cancelled_at_once(rig: Rig) -> None:
    job = rig.submit("sleep 5", interpreter="bash")
    rig.until(job, "running")
    assert requests.delete(f"{rig.url}/jobs/{job}", timeout=60).status_code == 202
    assert rig.result(job)["failure"] == "cancelled"
    assert rig.result(rig.submit())["output"] == "hello\n"


def test_files_in_and_out(rig: Rig) -> None:
    code = (
        "import os\nos.makedirs('out')\nopen('out/b', 'wb').write(open('data/in.txt', 'rb').read() * 2)\nopen('c', 'w')"
    )
    job = rig.submit("", files={"main.py": code, "data/in.txt": "text\r\n"}, entrypoint="main.py", outputs=["out/"])
    (file,) = rig.result(job)["artifacts"]
    assert (file["path"], file["size"]) == ("out/b", 12)
    content = requests.get(rig.url + file["download_url"], timeout=60).content
    assert content == b"text\r\n" * 2
    assert file["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_archives_reach_it_as_they_were_sent(rig: Rig, kind: str) -> None:
    buffer = io.BytesIO()
    code = b"import sys\nopen('made.bin', 'wb').write(bytes(1 << 20))\nprint(sys.argv[1])"
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            zipped.writestr("app/start.py", code)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            entry = tarfile.TarInfo("app/start.py")
            entry.size = len(code)
            archive.addfile(entry, io.BytesIO(code))
    job = rig.upload(f"p.{kind}", buffer.getvalue(), '{"entrypoint": "app/start.py", "args": ["x"], "timeout": 20}')
    result = rig.result(job)
    assert (result["output"], [file["path"] for file in result["artifacts"]]) == ("x\n", ["made.bin"])


def test_large_output_is_cut_in_the_middle(rig: Rig) -> None:
    output = rig.result(rig.submit("print('a' * (3 << 20) + 'b' * 10)"))["output"]
    assert output.startswith("aaa")
    assert output.endswith("b" * 10 + "\n")
    assert "characters left out" in output
    assert len(output) < (1 << 20) + 100


def test_output_comes_at_the_end_and_nothing_is_asked_that_it_does_not_list(rig: Rig) -> None:
    job = rig.submit("import time\nprint('early', flush=True)\ntime.sleep(1)")
    with requests.get(
        f"{rig.url}/logs/{job}", headers={"Accept": "text/event-stream"}, stream=True, timeout=120
    ) as events:
        said = events.text
    assert "early" in said, "a follower gets it when the job has ended"
    asked = [line.split(" ", 2) for line in rig.standin.said.splitlines() if line[:3].isdecimal()]
    assert not [line for line in asked if "?" in line[2] or line[1] not in ("GET", "POST")]


def test_limits_beyond_time_are_not_held_but_the_job_runs(rig: Rig) -> None:
    code = "held = bytearray(100 << 20)\nprint(len(held))"
    assert rig.result(rig.submit(code, memory_mb=64))["output"] == f"{100 << 20}\n"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("stdin", "text", "standard input for jobs"), ("env", {"A": "b"}, "environment variables for jobs")],
)
def test_what_it_would_leave_out_waits_for_another_node_and_is_rejected_by_name(
    rig: Rig, field: str, value: Any, said: str
) -> None:
    job = rig.submit(**{field: value})
    assert rig.job(job)["waiting_for"] == f"a live node with {said}"
    assert rig.result(job)["failure"] == "rejected"
    assert rig.job(job)["explanation"] == f"No node could run the job: none came with python3, {said}."
    assert rig.outcomes(job) == [], "no node was bothered"


def test_a_node_of_ours_beside_it_gets_what_it_would_leave_out(rig: Rig) -> None:
    capabilities = {"cpu_cores": 1, "memory_gb": 1, "gpu": False, "interpreters": ["python3"]}
    ours = _call(rig, "register", endpoint="http://ours:8443", capabilities=capabilities, slots=1)
    who = {"node_id": ours["node_id"], "session": ours["session"]}
    job = rig.submit(stdin="text", requires={"min_cpu_cores": 1})
    (claimed,) = _call(rig, "claim", **who, claim=1, max_jobs=1, wait=25)["jobs"]
    assert (claimed["id"], claimed["stdin"]) == (job, "text")
    _call(rig, "complete", **who, job_id=job, fence=claimed["fence"], output="", error="", exit_code=0, failure=None)
    assert rig.result(job)["status"] == "completed"
    assert rig.outcomes(job) == ["completed"]


def _call(rig: Rig, path: str, **body: Any) -> dict[str, Any]:
    answer = requests.post(f"{rig.url}/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_environments_are_the_nodes_own(rig: Rig) -> None:
    assert rig.get("/environments").json()["templates"] == ["ml", "web"]
    job = rig.upload("main.py", b"print(1)", '{"environment": "ml", "timeout": 20}')
    result = rig.result(job)
    assert (result["output"], result["execution"]["environment"]) == ("1\n", "ml")
    parts = [("files", ("main.py", b"print(1)")), ("manifest", (None, '{"environment": "gone"}'))]
    answer = requests.post(f"{rig.url}/submit", files=parts, timeout=60)  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert "unknown environment gone: the nodes have ml, web" in answer.json()["error"]


def test_one_job_at_a_time_though_its_loop_sleeps_and_its_status_blocks(rig: Rig) -> None:
    began = time.monotonic()
    jobs = [rig.submit("sleep 0.3; echo $0", interpreter="bash") for _ in range(3)]
    assert [rig.result(job)["status"] for job in jobs] == ["completed"] * 3
    assert time.monotonic() - began > 0.9
    nodes = rig.get("/nodes").json()["nodes"]
    assert [node["capabilities"].get("lacks", []) for node in nodes].count(["env", "stdin"]) == 1
