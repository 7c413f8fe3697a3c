"""A broker process, and one node that sends and fetches files as the test says."""

import json
from typing import Any

import httpx

from support.archives import sha
from support.broker_process import BrokerProcess
from support.waiting import eventually

LONG_ENOUGH = 60.0
MIB = 1024 * 1024


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
        job: dict[str, Any] = (await self.ok("POST", "/claim", json={**self.who, "wait": 20}))["job"]
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
        await eventually(lambda: len(self.blobs) == left, seconds=LONG_ENOUGH, what=f"{left} contents are left")
