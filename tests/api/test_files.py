"""Files in and out over real HTTP, as clients and nodes send and fetch them."""

import base64
import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from api.files_rig import MIB, Rig
from support.archives import sha, tar_gz, zipped

pytestmark = pytest.mark.anyio


async def test_a_sandrun_client_finds_its_words(rig: Rig) -> None:
    archive = tar_gz({"main.py": b"print(1)", "data/in.txt": b"x"})
    submitted = (await rig.upload([("project.tar.gz", archive)], {"args": ["a"], "timeout": 20})).json()
    assert submitted["status"] == "queued"
    job_id = submitted["job_id"]
    assert (await rig.ok("GET", f"/status/{job_id}"))["status"] == "queued"
    assert (await rig.ok("GET", f"/logs/{job_id}"))["status"] == "queued"
    job = await rig.claim()
    assert (job["entrypoint"], job["interpreter"], job["args"], job["timeout"]) == ("main.py", "python3", ["a"], 20)
    assert job["uploads"] == [{"name": "project.tar.gz", "sha256": sha(archive), "size": len(archive)}]
    fetched = await rig.client.get(f"/inputs/{job_id}/{sha(archive)}?fence={job['fence']}", headers=rig.headers)
    assert (fetched.content, fetched.headers["etag"]) == (archive, f'"{sha(archive)}"')
    assert (await rig.ok("GET", f"/status/{job_id}"))["status"] == "running"
    execution = {"job_hash": "h", "worker_id": "w", "signature": "s"}
    usage = {"wall_seconds": 1.5, "cpu_seconds": 0.5, "memory_peak_bytes": MIB}
    await rig.leaves(job, {"out/a.txt": b"result"}, output="1\n", execution=execution, usage=usage)
    status = await rig.ok("GET", f"/status/{job_id}")
    assert (status["status"], status["job_hash"], status["worker_metadata"]) == (
        "completed", "h", {"worker_id": "w", "signature": "s"},
    )  # fmt: skip
    assert status["execution_metadata"]["wall_time_ms"] == 1500
    assert status["output_files"]["out/a.txt"]["sha256"] == sha(b"result")
    outputs = await rig.ok("GET", f"/outputs/{job_id}")
    assert (outputs["status"], outputs["total_files"]) == ("completed", 1)
    assert (await rig.client.get(outputs["files"][0]["download_url"])).content == b"result"
    assert (await rig.ok("GET", f"/logs/{job_id}"))["stdout"] == "1\n"
    health = await rig.ok("GET", "/health")
    assert (health["status"], health["worker_id"]) == ("healthy", None)
    assert {"service", "status", "limits", "version"} <= (await rig.ok("GET", "/")).keys()
    assert (await rig.ok("GET", "/stats"))["system"] == {"queue_length": 0, "active_jobs": 0}


@pytest.mark.parametrize(
    ("parts", "entrypoint", "interpreter"),
    [
        ([("index.js", b"1")], "index.js", "node"),
        ([("run.sh", b"ls")], "run.sh", "sh"),
        ([("only.rb", b"1")], "only.rb", "ruby"),
        ([("x.tar.gz", tar_gz({"./main.py": b"1", "b.py": b""}))], "main.py", "python3"),
        ([("x.zip", zipped({"a/b.py": b"1", "index.js": b""}))], "index.js", "node"),
        ([("x.zip", zipped({"job.json": b'{"entrypoint": "a/b.rb", "timeout": 9}', "a/b.rb": b""}))], "a/b.rb", "ruby"),
        ([("job.json", b'{"entrypoint": "z.py"}'), ("z.py", b""), ("y.py", b"")], "z.py", "python3"),
    ],
)
async def test_what_a_manifest_leaves_open(
    rig: Rig, parts: list[tuple[str, bytes]], entrypoint: str, interpreter: str
) -> None:
    assert (await rig.upload(parts)).status_code == 200
    job = await rig.claim()
    assert (job["entrypoint"], job["interpreter"]) == (entrypoint, interpreter)


async def test_uploads_that_are_refused_leave_nothing(rig: Rig) -> None:
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz") as archive:
        entry = tarfile.TarInfo("zeros")
        entry.size = 600 * MIB
        archive.addfile(entry, _Zeros())
    for parts, manifest in (
        ([("a.py", b"1"), ("b.py", b"2")], None),
        ([("a.py", b"1")], {"entrypoint": 5}),
        ([("a.py", b"1")], {"timeout": 10**9}),
        ([("a.py", b"1")], {"code": "x"}),
        ([("a.py", b"1")], ["a"]),
        ([("a.py", b"1")], {"args": [[]] * 20_000}),
        ([("a.tar.gz", b"no archive")], None),
        ([("a.zip", b"PK")], None),
        ([("bomb.tgz", bomb.getvalue())], None),
        ([("many.tgz", tar_gz({f"{n}.py": b"" for n in range(10_001)}))], None),
        ([("../a.py", b"1")], None),
        ([("/a.py", b"1")], None),
    ):
        answer = await rig.upload(parts, manifest)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]
    for body, kind in (
        (b"", "multipart/form-data"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data; name=files; filename=a.py\r\n\r\n1",
            "multipart/form-data; boundary=x",
        ),
        (b"--x\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nA: " + b"y" * 9000 + b"\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ):
        answer = await rig.client.post("/submit", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422), answer.text
    assert (await rig.ok("GET", "/health"))["jobs"] == 0
    await rig.until_swept(left=0)


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


async def test_the_same_content_is_stored_once_and_goes_with_its_last_job(rig: Rig) -> None:
    content = b"print('same')" * 1000
    ids = [(await rig.upload([("main.py", content)])).json()["job_id"] for _ in range(3)]
    assert rig.blobs == [sha(content)]
    for job_id in ids[:2]:
        await rig.ok("DELETE", f"/jobs/{job_id}")
    job = await rig.claim()
    assert job["id"] == ids[2]
    got = await rig.client.get(f"/inputs/{ids[2]}/{sha(content)}?fence={job['fence']}", headers=rig.headers)
    assert got.content == content
    await rig.leaves(job, {})
    await rig.until_swept(left=0)


async def test_only_the_holder_of_an_attempt_sends_and_fetches(rig: Rig) -> None:
    await rig.upload([("main.py", b"1")])
    job = await rig.claim()
    good = f"/inputs/{job['id']}/{sha(b'1')}?fence={job['fence']}"
    assert (await rig.client.get(good)).status_code == 422
    assert (await rig.client.get(good, headers={**rig.headers, "Sandrun-Session": "guess"})).status_code == 409
    assert (await rig.client.get(good.replace("fence=", "fence=9"), headers=rig.headers)).status_code == 409
    assert (await rig.client.get(f"/inputs/{job['id']}/{'0' * 64}?fence=1", headers=rig.headers)).status_code == 404
    wrong = await rig.put(job, b"abc", digest=sha(b"other"))
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "wrong_checksum")
    unsized = await rig.put(job, _chunks(b"abc"), digest=sha(b"abc"))
    assert unsized.status_code == 411
    assert (await rig.put({**job, "fence": 99}, b"abc")).status_code == 409
    absent = await rig.complete(job, artifacts=[{"path": "a", "sha256": sha(b"abc"), "size": 3}])
    assert (absent.status_code, absent.json()["missing"]) == (409, [sha(b"abc")])
    ask = f"/artifacts/{job['id']}/missing?fence={job['fence']}"
    wanted = {"sha256": [sha(b"abc"), sha(b"1")]}
    assert (await rig.ok("POST", ask, json=wanted, headers=rig.headers))["missing"] == wanted["sha256"]
    assert (await rig.put(job, b"abc")).status_code == 200
    assert (await rig.ok("POST", ask, json=wanted, headers=rig.headers))["missing"] == [sha(b"1")]
    paths = ["a", "a", "../b", "/c"]
    said = [{"path": path, "sha256": sha(b"abc"), "size": 3} for path in paths]
    assert (await rig.complete(job, artifacts=said)).status_code == 200
    assert (await rig.complete(job, artifacts=said)).json() == {"status": "ok", "duplicate": True}
    result = await rig.ok("GET", f"/results/{job['id']}")
    assert [file["path"] for file in result["artifacts"]] == ["a"]
    assert [(file["path"], file["reason"]) for file in result["artifacts_dropped"]] == [
        ("a", "same_name"), ("../b", "unsafe_name"), ("/c", "unsafe_name"),
    ]  # fmt: skip


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_binary_output_comes_back_byte_for_byte(rig: Rig) -> None:
    job_id = (await rig.ok("POST", "/submit", json={"code": "1"}))["job_id"]
    data = bytes(range(256))
    await rig.complete(
        await rig.claim(),
        output=data.decode("utf-8", "replace"),
        output_base64=base64.b64encode(data).decode(),
        output_bytes=256,
    )
    assert base64.b64decode((await rig.ok("GET", f"/results/{job_id}"))["output_base64"]) == data
    exact = await rig.ok("GET", f"/logs/{job_id}?encoding=base64")
    assert base64.b64decode(exact["stdout_base64"]) == data


async def test_a_cancelled_job_keeps_what_still_arrives(rig: Rig) -> None:
    job_id = (await rig.upload([("main.py", b"1")])).json()["job_id"]
    async with rig.client.stream("POST", "/link", json=rig.who) as link:
        news = link.aiter_lines()
        await anext(news)
        job = await rig.claim()
        assert (await rig.client.delete(f"/jobs/{job_id}")).status_code == 202
        assert (await rig.put(job, b"partial")).status_code == 200
        said = [{"path": "p", "sha256": sha(b"partial"), "size": 7}]
        assert (await rig.complete(job, failure="cancelled", exit_code=None, artifacts=said)).status_code == 200
    result = await rig.ok("GET", f"/results/{job_id}")
    assert (result["failure"], [file["path"] for file in result["artifacts"]]) == ("cancelled", ["p"])


async def test_idempotent_uploads(rig: Rig) -> None:
    key = {"Idempotency-Key": "one"}
    first = (await rig.upload([("main.py", b"1")], headers=key)).json()
    again = (await rig.upload([("main.py", b"1")], headers=key)).json()
    assert (again["job_id"], again["replayed"]) == (first["job_id"], True)
    assert (await rig.upload([("main.py", b"2")], headers=key)).status_code == 409
