"""What multipart submits may hold, and how those that may not are answered."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.rig import Api, Node, Started
from broker.api.app import make_app
from support.archives import sha, unpacked

pytestmark = pytest.mark.anyio
LONG_ENOUGH = 60.0
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def part(data: bytes, *, name: str = "files", filename: str | None = "main.py", headers: bytes = b"") -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n'.encode()
    return head + headers + b"\r\n" + data + b"\r\n"


def manifest(fields: Any) -> bytes:
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return part(data, name="manifest", filename=None)


async def send(api: Api, *parts: bytes, end: bytes = b"--x--\r\n") -> httpx.Response:
    async with asyncio.timeout(60):
        return await api.client.post("/submit", content=b"".join(parts) + end, headers=FORM)


REFUSED: dict[str, tuple[list[bytes], int, str]] = {
    "the same name twice": ([part(b"1"), part(b"2")], 422, "twice"),
    "the same name spelt otherwise": ([part(b"1"), part(b"2", filename="./main.py")], 422, "twice"),
    "a file that is a folder": ([part(b"1"), part(b"2", filename="main.py/x")], 422, "both a file and a folder"),
    "a control character": ([part(b"1", filename="a\x7f.py")], 400, "control character"),
    "too deep": ([part(b"1", filename="a/" * 32 + "main.py")], 400, "32 parts"),
    "a long part": ([part(b"1", filename="a" * 256)], 400, "255 bytes"),
    "no file's name": ([part(b"1", filename=".")], 400, "relative path"),
    "an entrypoint that is not there": ([part(b"1"), manifest({"entrypoint": "b.py"})], 422, "no file 'b.py'"),
    "two manifests": ([part(b"1"), manifest({}), manifest({"timeout": 3})], 400, "one part named 'manifest'"),
    "a GPU with memory": ([part(b"1"), manifest({"gpu": {"required": True, "min_vram_gb": 8}})], 422, "min_vram_gb"),
    "an environment that no node has": ([part(b"1"), manifest({"environment": "ml"})], 422, "the nodes have none"),
    "a GPU that is no object": ([part(b"1"), manifest({"gpu": True})], 422, "gpu"),
    "requires that are none": ([part(b"1"), manifest({"gpu": {"required": True}, "requires": 1})], 422, "requires"),
    "a manifest of many values": ([part(b"1"), manifest(b'{"args":[' + b"{}," * 500_000 + b"1]}")], 422, "values"),
    "a job.json of many values": (
        [part(b"1"), part(b'{"args":[' + b"1," * 200_000 + b"1]}", filename="job.json")], 422, "values",
    ),
    "a manifest without end": ([part(b"1"), manifest(b'{"stdin":"' + b"y" * (3 << 20) + b'"}')], 413, "manifest"),
    "a manifest that is no text": ([part(b"1"), manifest(b'{"stdin":"\xff\xfe"}')], 422, "manifest"),
    "half of a pair": ([part(b"1"), manifest(b'{"entrypoint":"main.py","args":["\\ud800"]}')], 422, "half"),
    "half of a pair as a name": ([part(b"1"), manifest(b'{"entrypoint":"\\ud800"}')], 422, "half"),
    "a number beyond all": ([part(b"1"), manifest(b'{"timeout":' + b"9" * 5000 + b"}")], 422, "manifest"),
    "a deep nest": ([part(b"1"), manifest(b'{"args":' + b"[" * 5000 + b"]" * 5000 + b"}")], 422, "manifest"),
    "no file": ([manifest({})], 422, "no files"),
    "a part of another name only": ([part(b"1", name="file")], 422, "no files"),
    "too many files": ([part(b"", filename=f"{n}.py") for n in range(1001)], 400, "1000 files"),
    "too many parts": ([part(b"1"), *[part(b"", name=f"p{n}", filename=None) for n in range(1100)]], 400, "parts"),
    "many headers": ([part(b"1", headers=b"".join(b"X-%d: y\r\n" % n for n in range(40)))], 400, ""),
    "a long header": ([part(b"1", headers=b"X: " + b"y" * 9000 + b"\r\n")], 400, ""),
    "lines without CR": ([part(b"1").replace(b"\r\n", b"\n")], 400, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_uploads_that_are_refused(api: Api, what: str) -> None:
    parts, status, says = REFUSED[what]
    answer = await send(api, *parts)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert (await api.ok("GET", "/health"))["jobs"] == 0
    await api.broker.files.sweep()
    assert len(api.broker.folder) == 0


async def test_a_body_without_its_end_is_no_submit(api: Api) -> None:
    for end in (b"", b"--x\r\n", b"--x-", b"\r\n--y--\r\n"):
        answer = await send(api, part(b"1"), end=end)
        assert answer.status_code == 400, answer.text
    await api.broker.files.sweep()
    assert len(api.broker.folder) == 0


async def test_a_thousand_files_and_a_manifest_are_a_submit(api: Api) -> None:
    node = await api.node()
    files = {f"dir {number}/ünï.txt": b"%d" % number for number in range(999)}
    answer = await send(api, part(b"1"), *[part(d, filename=n) for n, d in files.items()], manifest({"args": ["a"]}))
    assert answer.status_code == 200, answer.text
    (job,) = await node.claim()
    assert [upload["name"] for upload in job["uploads"]] == ["main.py", *files]


async def test_names_are_taken_as_sandrun_takes_them(api: Api) -> None:
    node = await api.node()
    parts = [part(b"1", filename="./src//app.py"), part(b"x", filename="/home/me/data.tar.gz")]
    assert (await send(api, *parts, manifest({"entrypoint": "src/app.py"}))).status_code == 200
    (job,) = await node.claim()
    assert [upload["name"] for upload in job["uploads"]] == ["src/app.py", "data.tar.gz"]


async def test_fields_that_mean_nothing_are_named(api: Api) -> None:
    """sandrun passes them over, so its clients may send some; a misspelt one must not go unseen."""
    answer = await send(api, part(b"1"), manifest({"memory_mbs": 5, "name": "x", "timeout": 9, "gpu": {}}))
    assert answer.json()["ignored_fields"] == ["memory_mbs", "name"]
    wrong = await send(api, part(b"1"), manifest({"code": "x"}))
    assert (wrong.status_code, "no place in a manifest" in wrong.json()["error"]) == (422, True)


async def test_the_limits_of_files_of_jobs_and_of_all(started: Started, tmp_path: Path) -> None:
    limits = {"max_file_bytes": 1000, "max_upload_bytes": 1500, "max_stored_bytes": 3000, "min_free_bytes": 0}
    async with started(**limits) as api:
        for number, (sizes, status, reason) in enumerate(
            [
                ([1001], 413, "file_too_large"),
                ([900, 601], 413, "upload_too_large"),
                ([1000, 500], 200, None),
                ([1000], 200, None),
                ([1000], 507, "storage_full"),
            ]
        ):
            parts = [part(bytes([number, n]) * (size // 2) + b"x" * (size % 2), filename=f"{n}.py")
                     for n, size in enumerate(sizes)]  # fmt: skip
            answer = await send(api, *parts, manifest({"entrypoint": "0.py"}))
            assert (answer.status_code, answer.json().get("reason")) == (status, reason), answer.text
        await api.broker.files.sweep()
        assert api.broker.folder.stored_bytes == 2500
    async with started(min_free_bytes=1 << 60) as api:
        answer = await send(api, part(b"1"))
        assert (answer.status_code, "disk" in answer.json()["error"]) == (507, True)


# ---- what becomes of stored contents


async def put(api: Api, node: Node, job: dict[str, Any], data: bytes) -> httpx.Response:
    headers = {"Sandrun-Node": node.id, "Sandrun-Session": node.session}
    path = f"/artifacts/{job['id']}/{sha(data)}?fence={job['fence']}"
    return await api.client.put(path, content=data, headers=headers)


async def left(api: Api, node: Node, files: dict[str, bytes], **given: Any) -> str:
    """A job that left these files."""
    job_id = await api.submit(**given)
    (job,) = await node.claim()
    for data in files.values():
        assert (await put(api, node, job, data)).status_code == 200
    said = [{"path": path, "sha256": sha(data), "size": len(data)} for path, data in files.items()]
    assert (await node.complete(job, artifacts=said)).status_code == 200
    return job_id


async def test_an_archive_that_is_being_sent_stays_whole_when_its_job_expires(api: Api) -> None:
    node = await api.node()
    files = {f"f{number}": bytes([number]) * 300_000 for number in range(5)}
    job_id = await left(api, node, files)
    sent: list[bytes] = []
    async with aclosing(download(api, job_id)) as pieces:
        sent.append(await anext(pieces))
        await api.pass_time(api.broker.settings.result_ttl + 1)
        await api.broker.files.sweep()
        assert (await api.call("GET", f"/download/{job_id}")).status_code == 410
        sent += [piece async for piece in pieces]
    assert unpacked(b"".join(sent)) == files
    await api.broker.files.sweep()
    assert len(api.broker.folder) == 0


async def download(api: Api, job_id: str) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece: httpx would gather it."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # never

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await queue.put(message["body"] if message.get("more_body") else None)

    path = f"/download/{job_id}"
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "headers": [(b"host", b"broker")], "client": ("127.0.0.1", 1),
        "server": ("broker", 80),
        "scheme": "http",
    }  # fmt: skip
    serving = asyncio.ensure_future(make_app(api.broker)(scope, receive, send))
    try:
        while (piece := await queue.get()) is not None:
            yield piece
        await serving
    finally:
        serving.cancel()


async def test_contents_that_a_power_cut_emptied_are_not_taken_for_whole(started: Started, tmp_path: Path) -> None:
    """Without fsync (BROKER_DURABILITY=relaxed) a file may have its name and not its bytes."""
    async with started(durability="relaxed") as api:
        node = await api.node()
        job_id = await left(api, node, {"f": b"content"})
        place = api.broker.folder.place(sha(b"content"))
    place.write_bytes(b"")
    async with started(durability="relaxed") as api:
        for path in (f"/download/{job_id}/f", f"/download/{job_id}"):
            assert (await api.call("GET", path)).status_code == 503
        node = await api.node()
        again = await left(api, node, {"f": b"content"})
        assert (await api.call("GET", f"/download/{again}/f")).content == b"content"
        assert (await api.call("GET", f"/download/{job_id}/f")).content == b"content", "mended by the same content"
        assert api.broker.folder.stored_bytes == len(b"content")


async def test_a_node_that_lies_about_a_size_is_not_believed(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    await put(api, node, job, b"content")
    said = [{"path": "f", "sha256": sha(b"content"), "size": 3}]
    assert (await node.complete(job, artifacts=said)).status_code == 200
    (kept,) = (await api.ok("GET", f"/results/{job_id}"))["artifacts"]
    assert kept["size"] == 7
    assert (await api.call("GET", f"/download/{job_id}/f")).content == b"content"


async def test_artifacts_that_arrive_together_share_the_limit(started: Started) -> None:
    async with started(max_artifacts_bytes=1500) as api:
        node = await api.node()
        await api.submit()
        (job,) = await node.claim()
        answers = await asyncio.gather(*(put(api, node, job, bytes([n]) * 1000) for n in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 413, 413]
        assert (await put(api, node, job, b"x" * 400)).status_code == 200


async def test_uploads_of_clients_take_no_place_from_nodes(started: Started) -> None:
    async with started(max_uploads=1) as api:
        node = await api.node()
        await api.submit()
        (job,) = await node.claim()
        begun, held = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            begun.set()
            yield part(b"1")
            await held.wait()
            yield b"--x--\r\n"

        uploading = asyncio.ensure_future(api.client.post("/submit", content=slow(), headers=FORM))
        async with asyncio.timeout(LONG_ENOUGH):
            await begun.wait()
        assert (await send(api, part(b"2"))).status_code == 503
        assert (await put(api, node, job, b"result")).status_code == 200
        held.set()
        assert (await uploading).status_code == 200


async def test_a_success_whose_files_went_answers_no_identical_job(started: Started) -> None:
    async with started(max_stored_bytes=1000, min_free_bytes=0) as api:
        node = await api.node()
        first = await left(api, node, {"f": b"1" * 600}, cache=True)
        hit = await api.ok("POST", "/submit", {"code": "print(1)", "cache": True})
        assert hit["cached"] is True
        await left(api, node, {"g": b"2" * 700}, code="other")
        (gone,) = (await api.ok("GET", f"/results/{first}"))["artifacts_dropped"]
        assert (gone["path"], gone["reason"]) == ("f", "evicted")
        again = await api.ok("POST", "/submit", {"code": "print(1)", "cache": True})
        assert "cached" not in again
