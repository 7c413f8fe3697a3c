"""A backup of a broker under load, and a broker that comes back from it: what was acknowledged before the backup began
is there, whole, and nothing of the time in between can be taken for the present."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.load import Load
from chaos.node import Run, SimNode
from chaos.rig import QUICK, Scenario
from support.backups import backup, restored
from support.records import Records

pytestmark = pytest.mark.anyio
Make = Callable[..., Scenario]


async def test_a_backup_under_load_is_whole_and_holds_up_nobody(scenario: Make, tmp_path: Path) -> None:
    contents = [f"content {n}".encode() * 1000 for n in range(5)]
    async with scenario() as s:
        port = s.broker.port
        uploads = dict(zip([await upload(port, content) for content in contents], contents, strict=True))
        maker = await s.registered("maker", labels={"makes": "files"})
        made = await s.client().submit("ok", requires={"labels": {"makes": "files"}})
        (run,) = await maker.claim()
        await left_by(port, maker, run, b"left behind" * 1000)
        async with Load(s, clients=6, nodes=3) as load:
            await load.reach(60)
            known = list(load.jobs)
            tar = await backup(s.broker)
            grown = len(load.jobs) - len(known)
            await load.finish()
    assert grown > 0, "submits went on while the backup was made"
    async with await restored(tmp_path / "back", tar, port=port, environment=QUICK) as broker:
        records = Records(broker.database)
        assert (records.integrity, records.orphans) == ("ok", 0)
        assert {*known, *uploads, made} <= records.jobs.keys()
        assert records.jobs.keys() <= {*load.jobs, *uploads, made}
        client, node = s.client("afterwards"), s.node("newcomer", slots=4)
        s.work(node)
        for job in records.jobs.keys() - uploads.keys():
            assert (await client.result(job, seconds=120))["status"] in ("completed", "failed")
        await s.kill_node(node)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            assert (await http.get(f"/download/{made}/out.bin")).content == b"left behind" * 1000
        painter = await s.registered("painter", slots=8, gpu=True)
        assert await inputs(port, painter) == uploads
        painter.close()
        client.close()


async def test_what_happened_since_the_backup_cannot_come_back(scenario: Make, tmp_path: Path) -> None:
    """A node goes on with an attempt that the restored broker gives out anew: its word must not count."""
    async with scenario(MAX_RETRIES="0") as s:
        client = s.client()
        node = await s.registered("worker", slots=2)
        held, later = await client.submit("ok held"), await client.submit("ok later")
        (run,) = await node.claim()
        tar = await backup(s.broker)
        await node.claim()
        newest = await client.submit("ok newest")
        port, old = s.broker.port, (node.node_id, node.session)
    async with await restored(tmp_path / "back", tar, port=port, environment=QUICK) as broker:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            assert (await http.get(f"/status/{newest}")).status_code == 404, "it was submitted after the backup"
            said = await http.post("/complete", json=node.identity() | node.outcome(run))
            assert (said.status_code, said.json()["reason"]) == (409, "session_ended")
            await node.register()
            assert (node.node_id, node.session != old[1]) == (old[0], True), "the same node in a new session"
            again = {job.job_id: job for job in [*await node.claim(max_jobs=2), *await node.claim(max_jobs=2)]}
            assert again.keys() == {held, later}, "no retry was used up by the restoring"
            assert again[held].fence > run.fence + 1000
            late = await http.post("/complete", json=node.identity() | node.outcome(run))
            assert late.status_code == 409, "the old fence is nobody's"
            for job in again.values():
                await node.complete(job)
            assert (await client.result(held))["status"] == (await client.result(later))["status"] == "completed"
            past = (await http.get(f"/nodes/{node.node_id}")).json()["history"]
        assert "restored" in [event["reason"] for event in past]
        row = Records(broker.database).jobs[held]
        assert (row["losses"], row["attempt"]) == (0, 1)
        node.close()
        client.close()


async def upload(port: int, content: bytes) -> str:
    """A job that comes with a file, for a kind of node that is not there yet."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        manifest = '{"interpreter": "python3", "entrypoint": "main.py", "requires": {"gpu": true}}'
        files: dict[str, Any] = {"files": ("main.py", content), "manifest": (None, manifest)}
        answer = await http.post("/submit", files=files)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


async def left_by(port: int, node: SimNode, run: Run, content: bytes) -> None:
    """The node delivers a file, and a result that names it."""
    name = hashlib.sha256(content).hexdigest()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        who = {"Sandrun-Node": node.node_id, "Sandrun-Session": node.session}
        sent = await http.put(f"/artifacts/{run.job_id}/{name}?fence={run.fence}", content=content, headers=who)
    assert sent.status_code == 200, sent.text
    await node.complete(run, artifacts=[{"path": "out.bin", "sha256": name, "size": len(content)}])


async def inputs(port: int, node: SimNode) -> dict[str, bytes]:
    """What a node gets with the jobs that it claims."""
    call = await node.claim_call(max_jobs=8)
    found = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        who = {"Sandrun-Node": node.node_id, "Sandrun-Session": node.session}
        for job in call.body["jobs"]:
            (part,) = job["uploads"]
            answer = await http.get(f"/inputs/{job['id']}/{part['sha256']}?fence={job['fence']}", headers=who)
            found[job["id"]] = answer.content
    return found
