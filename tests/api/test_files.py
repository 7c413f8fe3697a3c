"""Files in and out over real HTTP, as clients and nodes send and fetch them."""

import asyncio
import base64
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.broker_process import BrokerProcess

pytestmark = pytest.mark.anyio
LONG_ENOUGH = 30.0
MIB = 1024 * 1024


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_gz(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


class Rig:
    """A broker process, and one node that does what the test says."""

    def __init__(self, broker: BrokerProcess, client: httpx.AsyncClient) -> None:
        self.broker = broker
        self.client = client
        self.who: dict[str, Any] = {}

    @property
    def blobs(self) -> list[str]:
        folder = self.broker.directory / "data" / "blobs"
        return [] if not folder.is_dir() else [p.name for p in folder.rglob("*") if p.is_file() and len(p.name) == 64]

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def register(self) -> None:
        capabilities = {"interpreters": ["python3", "node", "sh", "ruby"]}
        said = await self.ok(
            "POST", "/register", json={"endpoint": "x", "slots": 8, "capabilities": capabilities} | self.known
        )
        self.known = {"node_id": said["node_id"]} | ({"secret": said["secret"]} if "secret" in said else self.known)
        self.who = {"node_id": said["node_id"], "session": said["session"]}

    known: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed

    @property
    def headers(self) -> dict[str, str]:
        return {"Sandrun-Node": self.who["node_id"], "Sandrun-Session": self.who["session"]}

    async def upload(self, parts: list[tuple[str, bytes]], manifest: Any = None, **options: Any) -> httpx.Response:
        files: list[Any] = [("files", (name, data)) for name, data in parts]
        if manifest is not None:
            files.append(("manifest", (None, json.dumps(manifest))))
        return await self.client.post("/submit", files=files, **options)

    async def claim(self) -> dict[str, Any]:
        job: dict[str, Any] = (await self.ok("POST", "/claim", json={**self.who, "wait": 5}))["job"]
        await self.ok("POST", "/start", json={**self.who, "jobs": [{"job_id": job["id"], "fence": job["fence"]}]})
        return job

    async def put(self, job: dict[str, Any], data: Any, digest: str | None = None, **options: Any) -> httpx.Response:
        path = f"/artifacts/{job['id']}/{digest or sha(data)}?fence={job['fence']}"
        return await self.client.put(path, content=data, headers=self.headers, **options)

    async def complete(self, job: dict[str, Any], **said: Any) -> httpx.Response:
        body = {**self.who, "job_id": job["id"], "fence": job["fence"], "output": "", "error": "", "exit_code": 0}
        return await self.client.post("/complete", json=body | said)

    async def leaves(self, job: dict[str, Any], files: dict[str, bytes], **said: Any) -> None:
        for data in files.values():
            assert (await self.put(job, data)).status_code == 200
        artifacts = [{"path": path, "sha256": sha(data), "size": len(data)} for path, data in files.items()]
        answer = await self.complete(job, artifacts=artifacts, **said)
        assert answer.status_code == 200, answer.text

    async def until_swept(self, *, left: int) -> None:
        async with asyncio.timeout(LONG_ENOUGH):
            while True:
                if len(self.blobs) == left:
                    return
                await asyncio.sleep(0.05)  # the poll interval


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with (
        BrokerProcess(tmp_path, {"BROKER_DATABASE": str(tmp_path / "data" / "broker.db")}) as broker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{broker.port}", timeout=LONG_ENOUGH) as client,
    ):
        rig = Rig(broker, client)
        await rig.register()
        yield rig


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


async def test_downloads(rig: Rig) -> None:
    files = {
        "plain.txt": b"0123456789",
        "empty": b"",
        "with space/ünïcode\nline.bin": bytes(range(256)) * 300,
        "page.html": b"<script>alert(1)</script>",
        'quo"te;x=y\r\nSet-Cookie: a=b.txt': b"q",
    }
    job_id = (await rig.upload([("main.py", b"1")])).json()["job_id"]
    assert (await rig.client.get(f"/download/{job_id}")).status_code == 404
    await rig.leaves(await rig.claim(), files)
    listed = await rig.ok("GET", f"/outputs/{job_id}")
    assert {file["name"]: file["size"] for file in listed["files"]} == {n: len(d) for n, d in files.items()}
    for file in listed["files"]:
        got = await rig.client.get(file["download_url"])
        assert got.content == files[file["name"]]
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"].startswith("sandbox")
        assert got.headers["content-disposition"].startswith("attachment; filename=")
        assert "set-cookie" not in got.headers
        head = await rig.client.head(file["download_url"])
        assert (head.headers["content-length"], head.content) == (str(len(got.content)), b"")
    packed = (await rig.client.get(f"/download/{job_id}")).content
    assert packed == (await rig.client.get(f"/download/{job_id}")).content
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {m.name: read.read() for m in archive if (read := archive.extractfile(m)) is not None}
    assert found == files
    results = await rig.ok("GET", f"/results/{job_id}")
    assert {a["path"]: a["sha256"] for a in results["artifacts"]} == {n: sha(d) for n, d in files.items()}


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=0-0", 206, b"0"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=99999999999999999999-", 200, b"0123456789"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=0-99", 206, b"0123456789"),
        ("bytes=10-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-2", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
async def test_ranges(rig: Rig, asked: str, status: int, content: bytes) -> None:
    job_id = (await rig.upload([("main.py", b"1")])).json()["job_id"]
    await rig.leaves(await rig.claim(), {"f": b"0123456789"})
    got = await rig.client.get(f"/download/{job_id}/f", headers={"Range": asked})
    assert (got.status_code, got.content) == (status, content)
    tag = got.headers["etag"]
    whole = await rig.client.head(f"/download/{job_id}/f", headers={"Range": asked})
    assert (whole.status_code, whole.headers["content-length"]) == (200, "10"), "ranges are GET's only"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = await rig.client.get(f"/download/{job_id}/f", headers={"If-None-Match": known, "Range": asked})
        assert (same.status_code, same.headers["etag"], same.content) == (304, tag, b"")
        assert not {"content-length", "content-type", "content-disposition"} & same.headers.keys(), (
            "a cache keeps its own"
        )
    for other in ('"other"', f"W/{tag}", "Sat, 28 Nov 2026 00:00:00 GMT"):
        stale = {"Range": "bytes=2-4", "If-Range": other}
        assert (await rig.client.get(f"/download/{job_id}/f", headers=stale)).status_code == 200
    fresh = {"Range": "bytes=2-4", "If-Range": tag}
    assert (await rig.client.get(f"/download/{job_id}/f", headers=fresh)).status_code == 206


async def test_paths_that_lead_out(rig: Rig) -> None:
    job_id = (await rig.upload([("main.py", b"1")])).json()["job_id"]
    await rig.leaves(await rig.claim(), {"f": b"1"})
    for path in ("%2e%2e/%2e%2e/etc/passwd", "a/%2e%2e/f", "%2fetc/passwd", "..%2f..%2fbroker.db"):
        assert (await rig.client.get(f"/download/{job_id}/{path}")).status_code == 403
    for path in ("nothing", "f/", "%252e%252e/x", "..%5cx", "f%00"):
        assert (await rig.client.get(f"/download/{job_id}/{path}")).status_code in (400, 404)


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


async def test_large_files_do_not_fill_the_memory(rig: Rig) -> None:
    """90 MB in, 200 MB out; the resident memory grows by less than 64 MB."""
    block = os.urandom(MIB)
    archive = tar_gz({"main.py": b"1"})
    big = block * 90
    assert (await rig.upload([("warm.tar.gz", archive)], {"entrypoint": "main.py"})).status_code == 200
    await rig.leaves(await rig.claim(), {"warm": b"up"})
    before = _peak(rig.broker.pid, reset=True)
    submitted = await rig.upload([("big.bin", big), ("main.py", b"1")], {"entrypoint": "main.py"})
    job = await rig.claim()
    hasher = hashlib.sha256()
    path = f"/inputs/{job['id']}/{sha(big)}?fence={job['fence']}"
    async with rig.client.stream("GET", path, headers=rig.headers) as answer:
        async for chunk in answer.aiter_bytes():
            hasher.update(chunk)
    assert hasher.hexdigest() == sha(big)
    outs = {f"out{n}.bin": bytes([n]) + block * 50 for n in range(4)}
    await rig.leaves(job, outs)
    async with rig.client.stream("GET", f"/download/{submitted.json()['job_id']}/out3.bin") as answer:
        got = hashlib.sha256()
        async for chunk in answer.aiter_bytes():
            got.update(chunk)
    assert got.hexdigest() == sha(outs["out3.bin"])
    grown = _peak(rig.broker.pid) - before
    print(f"resident memory grew by {grown / MIB:.1f} MiB")
    assert grown < 64 * MIB


def _peak(pid: int, *, reset: bool = False) -> int:
    """Peak resident memory in bytes; `reset` begins a new measurement at what it is now."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_a_killed_broker_leaves_no_half_file(rig: Rig) -> None:
    """SIGKILL in the middle of an upload, and of an artifact; what is served afterwards is whole, the rest is swept."""
    await rig.upload([("main.py", b"print(1)")])
    job = await rig.claim()

    async def endless() -> AsyncIterator[bytes]:
        yield b"--x\r\nContent-Disposition: form-data; name=files; filename=a.py\r\n\r\n"
        for _ in range(200):
            yield bytes(MIB)
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    sending = asyncio.create_task(
        rig.client.post("/submit", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    )
    incoming = rig.broker.directory / "data" / "blobs" / "incoming"
    async with asyncio.timeout(LONG_ENOUGH):
        while True:
            if sum(p.stat().st_size for p in incoming.glob("*")) > 5 * MIB:
                break
            await asyncio.sleep(0.01)  # the poll interval
    assert (await rig.put(job, b"whole")).status_code == 200
    await rig.broker.kill()
    with pytest.raises(httpx.HTTPError):
        await sending
    await rig.broker.start()
    await rig.until_swept(left=1)  # the first job's main.py
    assert list(incoming.glob("*")) == []
    await rig.register()
    job = await rig.claim()
    said = [{"path": "w", "sha256": sha(b"whole"), "size": 5}]
    again = await rig.complete(job, artifacts=said)
    assert (again.status_code, again.json()["reason"]) == (409, "missing_artifacts")
    await rig.leaves(job, {"w": b"whole"})
    assert (await rig.client.get(f"/download/{job['id']}/w")).content == b"whole"
    await rig.until_swept(left=1)


async def test_idempotent_uploads(rig: Rig) -> None:
    key = {"Idempotency-Key": "one"}
    first = (await rig.upload([("main.py", b"1")], headers=key)).json()
    again = (await rig.upload([("main.py", b"1")], headers=key)).json()
    assert (again["job_id"], again["replayed"]) == (first["job_id"], True)
    assert (await rig.upload([("main.py", b"2")], headers=key)).status_code == 409
