"""What multipart submits may hold, and how those that may not are answered."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.rig import Api, Started

pytestmark = pytest.mark.anyio
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def part(data: bytes, *, name: str = "files", filename: str | None = "main.py", headers: bytes = b"") -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n'.encode()
    return head + headers + b"\r\n" + data + b"\r\n"


def manifest(fields: Any) -> bytes:
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return part(data, name="manifest", filename=None)


async def send(api: Api, *parts: bytes, end: bytes = b"--x--\r\n") -> httpx.Response:
    async with asyncio.timeout(30):
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
