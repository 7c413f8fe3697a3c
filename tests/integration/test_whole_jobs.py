"""Whole jobs on the real images: files in, files out, live output, cancel, through broker, agent and sandrun."""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.archives import sha, tar_gz, unpacked
from support.bundle import Bundle, wrapped
from support.followers import follow, printed
from support.inside import read_inside, run_inside
from support.readme import examples
from support.sandrun_client import SandrunClient
from support.waiting import wait_until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle(nodes=2, broker={"NODE_TIMEOUT": "20", "BROKER_LIVE_TOTAL_BYTES": str(32 * MIB)}) as bundle:
        yield bundle


def test_a_sandrun_client_needs_only_another_url(bundle: Bundle) -> None:
    program = b"import sys, pathlib\nprint(sys.argv[1:])\nprint('e', file=sys.stderr)\n"
    program += b"pathlib.Path('out').mkdir()\npathlib.Path('out/r.txt').write_text(open('data/in.txt').read() * 2)\n"
    client = SandrunClient(bundle.url)
    found = client.run({"main.py": program, "data/in.txt": b"abc"}, {"args": ["x", "y"], "outputs": ["out/"]})
    assert found["status"]["status"] == "completed"
    assert found["status"]["execution_metadata"]["exit_code"] == 0
    assert found["status"]["job_hash"]
    assert (found["logs"]["stdout"], found["logs"]["stderr"]) == ("['x', 'y']\n", "e\n")
    assert found["files"] == {"out/r.txt": b"abcabc"}
    entry = found["status"]["output_files"]["out/r.txt"]
    assert (entry["size_bytes"], entry["sha256"]) == (6, sha(b"abcabc"))
    assert unpacked(found["archive"]) == found["files"]
    assert found["frames"][-1].startswith("[DONE] Job completed")
    assert "".join(frame for frame in found["frames"] if not frame.startswith("[")).strip() in ("", "['x', 'y']")
    loose = client.run({"run.sh": b"cat d/in.txt; exit 3", "d/in.txt": b"loose"}, None, packed=False)
    assert (loose["status"]["status"], loose["status"]["execution_metadata"]["exit_code"]) == ("failed", 3)
    assert (loose["logs"]["stdout"], loose["files"]) == ("loose", {})
    inside = client.run(
        {"job.json": b'{"entrypoint": "a.py", "args": ["z"]}', "a.py": b"import sys; print(sys.argv[1])"}, None
    )
    assert inside["logs"]["stdout"] == "z\n"


def test_files_that_no_node_takes_end_the_job_at_once(bundle: Bundle) -> None:
    for archive, manifest, says in (
        (b"no archive", {"entrypoint": "main.py"}, "not a readable archive"),
        (tar_gz({"a.py": b""}), {"entrypoint": "main.py"}, "no file 'main.py'"),
        (tar_gz({"../a.py": b"", "main.py": b""}), {"entrypoint": "main.py"}, "must not leave its directory"),
    ):
        parts: list[Any] = [("files", ("x.tar.gz", archive)), ("manifest", (None, json.dumps(manifest)))]
        job_id = bundle.http.post(f"{bundle.url}/submit", files=parts, timeout=120).json()["job_id"]
        result = bundle.result(job_id)
        assert (result["failure"], result["attempt"]) == ("rejected", 1), result
        assert says in result["explanation"]


def test_a_thousand_inputs_arrive_byte_for_byte(bundle: Bundle) -> None:
    """Loose and in an archive, empty ones and names beyond ASCII among them."""
    files = {f"dir {n % 7}/näme ✓ {n:04}": hashlib.shake_256(str(n).encode()).digest(n % 300) for n in range(999)}
    code = b"import hashlib, json, os\nfound = {}\n"
    code += b"for top, _, names in os.walk('.'):\n    for name in names:\n        path = os.path.join(top, name)[2:]\n"
    code += b"        found[path] = hashlib.sha256(open(path, 'rb').read()).hexdigest()\nprint(json.dumps(found))\n"
    expected = {name: sha(data) for name, data in files.items()} | {"main.py": sha(code)}
    for packed in (False, True):
        found = SandrunClient(bundle.url).run(files | {"main.py": code}, {"entrypoint": "main.py"}, packed=packed)
        assert json.loads(found["logs"]["stdout"]) == expected


def test_the_readmes_examples(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word but for the port; a job that runs on makes the cancel of the upload mean something."""
    (tmp_path / "project.tar.gz").write_bytes(tar_gz({"main.py": b"import time; time.sleep(200)"}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "localhost")
    names: dict[str, Any] = {}
    blocks = examples("Whole jobs")
    assert len(blocks) == 5
    for block in blocks:
        exec(block.replace("http://localhost:8000", bundle.url), names)
    assert (names["result"]["status"], names["result"]["output"]) == ("completed", "hello ['x']\n")
    assert names["content"] == b"done"
    assert "event: end" in capsys.readouterr().out
    assert bundle.result(names["upload"]["job_id"])["failure"] == "cancelled"
    assert [attempt["outcome"] for attempt in names["attempts"]] == ["completed"]


def test_every_byte_and_every_name_comes_back(bundle: Bundle) -> None:
    code = """
import os, sys
for n in range(1000):
    open(f"file {n:04}", "w").write(str(n))
open("empty", "w").close()
open("ünïcode ✓\\nsecond line", "wb").write(bytes(range(256)))
sys.stdout.buffer.write(bytes(range(256)))
"""
    result = bundle.run(code)
    assert result["status"] == "completed", result
    assert base64.b64decode(result["output_base64"]) == bytes(range(256))
    kept = {file["path"]: file for file in result["artifacts"]}
    assert len(kept) == 1002, result["artifacts_dropped"]
    assert kept["empty"]["size"] == 0
    odd = kept["ünïcode ✓\nsecond line"]
    assert bundle.get(odd["download_url"]).content == bytes(range(256))
    found = unpacked(bundle.get(f"/download/{result['job_id']}").content)
    assert {name: sha(data) for name, data in found.items()} == {name: file["sha256"] for name, file in kept.items()}
    assert found["file 0999"] == b"999"


def test_large_files_pass_through_a_small_broker(bundle: Bundle) -> None:
    """90 MB in and 200 MB out; the broker's resident memory grows by less than 64 MB."""
    bundle.run("print('warm')")
    before = peak_memory(bundle, reset=True)
    block = hashlib.shake_256(b"seed").digest(MIB)
    big = block * 90
    code = """
import hashlib
data = open("big.bin", "rb").read()
print(hashlib.sha256(data).hexdigest())
del data
block = open("big.bin", "rb").read(1024 * 1024)
for n in range(4):
    with open(f"out{n}.bin", "wb") as file:
        file.write(bytes([n]))
        for _ in range(50):
            file.write(block)
"""
    manifest = {"entrypoint": "main.py", "outputs": ["out*"], "disk_mb": 300}
    parts: list[Any] = [
        ("files", ("main.py", code.encode())),
        ("files", ("big.bin", big)),
        ("manifest", (None, json.dumps(manifest))),
    ]
    job_id = bundle.http.post(f"{bundle.url}/submit", files=parts, timeout=120).json()["job_id"]
    result = bundle.result(job_id, seconds=250)
    assert result["output"] == sha(big) + "\n", result
    kept = {file["path"]: file["sha256"] for file in result["artifacts"]}
    assert kept == {f"out{n}.bin": sha(bytes([n]) + block * 50) for n in range(4)}, result["artifacts_dropped"]
    with bundle.get(f"/download/{job_id}/out3.bin", stream=True, timeout=60) as answer:
        hasher = hashlib.sha256()
        for chunk in answer.iter_content(MIB):
            hasher.update(chunk)
    assert hasher.hexdigest() == kept["out3.bin"]
    grown = peak_memory(bundle) - before
    print(f"the broker's resident memory grew by {grown / MIB:.1f} MiB")
    assert grown < 64 * MIB


def peak_memory(bundle: Bundle, *, reset: bool = False) -> int:
    """Peak resident bytes of the broker's process; `reset` begins anew at what it is now."""
    script = "import glob\n"
    script += "for p in glob.glob('/proc/[0-9]*'):\n"
    script += "    if open(p + '/cmdline','rb').read().split(b'\\0')[1:3] == [b'-m', b'broker']:\n"
    script += (
        "        open(p + '/clear_refs','w').write('5')\n" if reset else ""
    ) + "        print(open(p + '/status').read())\n"
    output = read_inside(wrapped(bundle.broker), "python", "-c", script)
    found = re.search(rb"VmHWM:\s+(\d+) kB", output)
    assert found, output
    return int(found[1]) * 1024


def test_fifty_followers_of_a_chatty_job(bundle: Bundle) -> None:
    code = "import time\nfor n in range(400):\n    print('line', n, flush=True)\n    time.sleep(0.005)\n"
    job_id = bundle.submit(code)
    heard: list[str] = []

    def listen() -> None:
        events = follow(bundle, job_id)
        assert events[-1][0] == "end"
        heard.append(printed(events))

    listeners = [threading.Thread(target=listen) for _ in range(50)]
    for listener in listeners:
        listener.start()
    result = bundle.result(job_id)
    for listener in listeners:
        listener.join(150)
    assert len(heard) == 50
    assert set(heard) == {result["output"]} == {"".join(f"line {n}\n" for n in range(400))}


def test_live_output_survives_a_failover(bundle: Bundle) -> None:
    bundle.wait_for_nodes(2)
    code = "import time\nprint('begun', flush=True)\ntime.sleep(7)\nprint('done')\n"
    job_id = bundle.submit(code)
    events: list[tuple[str, dict[str, Any]]] = []
    reading = threading.Thread(target=lambda: events.extend(follow(bundle, job_id)))
    reading.start()

    def begun() -> str | None:
        logs = bundle.get(f"/logs/{job_id}").json()
        return str(bundle.get(f"/status/{job_id}").json()["node_id"]) if "begun" in logs["stdout"] else None

    node_id = wait_until(begun, seconds=120, what="the job prints")
    victim = next(c for c in bundle.running_nodes() if node_id in bundle.logs(c))
    wrapped(victim).kill("SIGKILL")
    result = bundle.result(job_id)
    reading.join(150)
    assert (result["status"], result["output"]) == ("completed", "begun\ndone\n")
    attempts = [data["attempt"] for kind, data in events if kind == "attempt"]
    assert attempts == [1, 2]
    second = events[[place for place, (kind, _) in enumerate(events) if kind == "attempt"][1] :]
    assert printed(second) == "begun\ndone\n"
    assert events[-1][0] == "end"
    bundle.start_node()
    bundle.wait_for_nodes(2)


def test_a_cancelled_job_keeps_its_partial_output_and_files(bundle: Bundle) -> None:
    code = """
import os, signal, subprocess, time
for number in range(1, signal.NSIG):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
open('partial.txt', 'w').write('so far')
subprocess.Popen(['sleep', '86399'], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp('sleep', ['sleep', '86398'])
    time.sleep(280)
time.sleep(0.2)
print('begun', flush=True)
time.sleep(280)
"""
    job_id = bundle.submit(code, outputs=["partial.txt"])
    wait_until(lambda: "begun" in bundle.get(f"/logs/{job_id}").json()["stdout"], seconds=120, what="the job prints")

    def its_processes() -> int:
        shown = [str(wrapped(node).top()["Processes"]) for node in bundle.running_nodes()]
        return sum(processes.count("8639") for processes in shown)

    assert its_processes() == 2
    began = time.monotonic()
    assert bundle.http.delete(f"{bundle.url}/jobs/{job_id}", timeout=60).status_code == 202
    result = bundle.result(job_id, seconds=90)
    print(f"cancelled after {time.monotonic() - began:.2f} s")
    assert (result["status"], result["failure"]) == ("failed", "cancelled")
    assert "begun" in result["output"]
    wait_until(lambda: its_processes() == 0, seconds=60, what="its whole tree is gone")
    (kept,) = result["artifacts"]
    assert bundle.get(kept["download_url"]).content == b"so far"


def test_a_node_killed_while_it_sends_files(bundle: Bundle) -> None:
    """SIGKILL as soon as the first bytes of its files are there: the job ends right on another node."""
    bundle.wait_for_nodes(2)
    code = "import os\nfor n in range(3):\n    open(f'o{n}','wb').write(os.urandom(60 * 1024 * 1024))\nprint('ran')\n"
    job_id = bundle.submit(code, outputs=["o*"])

    def arriving() -> str | None:
        said = run_inside(wrapped(bundle.broker), "du", "-sb", "/data/blobs/incoming")
        size = int(said.out.split()[0]) if said.code == 0 else 0
        status = bundle.get(f"/status/{job_id}").json()
        return str(status["node_id"]) if size > MIB and status["status"] == "running" else None

    node_id = wait_until(arriving, seconds=150, what="files arrive")
    victim = next(c for c in bundle.running_nodes() if node_id in bundle.logs(c))
    wrapped(victim).kill("SIGKILL")
    result = bundle.result(job_id, seconds=200)
    assert (result["status"], result["attempt"]) == ("completed", 2), result
    assert result["node_id"] != node_id
    assert sorted(file["path"] for file in result["artifacts"]) == ["o0", "o1", "o2"]
    for file in result["artifacts"]:
        assert sha(bundle.get(file["download_url"], timeout=60).content) == file["sha256"]

    def no_orphans() -> bool:
        return not read_inside(wrapped(bundle.broker), "find", "/data/blobs/incoming", "-type", "f").strip()

    wait_until(no_orphans, seconds=90, what="half files are swept")
    bundle.start_node()
    bundle.wait_for_nodes(2)


def test_a_broker_killed_while_a_node_fetches_the_input(bundle: Bundle) -> None:
    """SIGKILL when a part of the input is on the node and the rest is not: the node fetches the rest from the next."""
    bundle.wait_for_nodes(2)
    big = hashlib.shake_256(b"input").digest(MIB) * 100
    code = b"import hashlib\nprint(hashlib.sha256(open('big.bin','rb').read()).hexdigest())\n"
    parts: list[Any] = [
        ("files", ("main.py", code)),
        ("files", ("big.bin", big)),
        ("manifest", (None, '{"entrypoint": "main.py"}')),
    ]
    container = wrapped(bundle.broker)
    job_id = bundle.http.post(f"{bundle.url}/submit", files=parts, timeout=120).json()["job_id"]

    def in_the_middle() -> bool:
        """Look while the broker stands still, so that the transfer cannot go on meanwhile."""
        container.pause()
        find = ["find", "/var/lib/node", "-path", "*/inputs/*/1", "-printf", "%s"]
        arrived = [int(run_inside(wrapped(node), *find).out or b"0") for node in bundle.running_nodes()]
        if 0 < max(arrived) < len(big):
            return True
        container.unpause()
        return False

    wait_until(in_the_middle, seconds=150, what="a node has a part of the input")
    container.kill("SIGKILL")
    container.wait()
    container.start()
    wait_until(bundle._is_healthy, seconds=120, what="the broker is back")
    result = bundle.result(job_id, seconds=200)
    assert (result["status"], result["output"]) == ("completed", sha(big) + "\n"), result


def test_nothing_is_kept_that_nobody_owns(bundle: Bundle) -> None:
    """After all of the above: every stored content is an artifact of some job, and every artifact is stored whole."""
    jobs = bundle.get("/jobs", params={"limit": 500}).json()["jobs"]
    owned = {
        file["sha256"]
        for job in jobs
        if job["completed_at"]
        for file in bundle.get(f"/results/{job['job_id']}").json()["artifacts"]
    }
    assert len(owned) > 1000

    def stored() -> set[str]:
        find = ["find", "/data/blobs", "-type", "f", "-size", "+0", "-name", "????????*"]
        output = read_inside(wrapped(bundle.broker), *find)
        return {line.rpartition("/")[2] for line in output.decode().split() if not line.endswith(".lock")}

    empty = sha(b"")
    wait_until(lambda: stored() == owned - {empty}, seconds=150, what="only what is owned is stored")
    script = (
        "cd /data/blobs && find . -type f -name '????????*' ! -name '*.lock' -printf '%f  %p\\n' | sha256sum -c --quiet"
    )
    checked = run_inside(wrapped(bundle.broker), "sh", "-c", script)
    assert checked.code == 0, checked
