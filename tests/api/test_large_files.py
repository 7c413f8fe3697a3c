"""Files that are larger than the memory that may be used for them, and uploads that a crash breaks off."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.files_rig import LONG_ENOUGH, MIB, Rig
from support.archives import sha, tar_gz
from support.waiting import eventually

pytestmark = pytest.mark.anyio


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
    await eventually(lambda: sum(p.stat().st_size for p in incoming.glob("*")) > 5 * MIB, seconds=LONG_ENOUGH)
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
