"""Files out over real HTTP: whole, in ranges, packed, and by no path that leads out."""

import pytest

from api.files_rig import Rig
from support.archives import sha, unpacked

pytestmark = pytest.mark.anyio


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
    assert unpacked(packed) == files
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
