"""A broker in this process, and short ways to call it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from broker.api.app import make_app
from broker.service.broker import Broker
from broker.settings import Settings, load_settings
from support.clock import FakeClock
from support.stores import STORES

Started = Callable[..., AbstractAsyncContextManager["Api"]]
"""Starts a broker with settings of a test's own."""
LONG_ENOUGH = 18.0
"""Seconds after which a test that waits has failed: below the 20 for which calls here wait by themselves."""


class Node:
    """A node as the API sees it."""

    def __init__(self, api: "Api", said: dict[str, Any]) -> None:
        self.api = api
        self.id: str = said["node_id"]
        self.secret: str | None = said.get("secret")
        self.session: str = said["session"]
        self.claims = 0

    @property
    def who(self) -> dict[str, str]:
        return {"node_id": self.id, "session": self.session}

    async def claim(self, wait: float = 0, max_jobs: int = 1) -> list[dict[str, Any]]:
        self.claims += 1
        body = {**self.who, "claim_number": self.claims, "wait": wait, "max_jobs": max_jobs}
        jobs: list[dict[str, Any]] = (await self.api.ok("POST", "/claim", body))["jobs"]
        return jobs

    async def complete(self, job: dict[str, Any], **said: Any) -> httpx.Response:
        values = {"output": "", "error": "", "exit_code": 0} | said
        body = {**self.who, "job_id": job["id"], "fence": job["fence"], **values}
        return await self.api.call("POST", "/complete", body)

    async def beat(self, *held: dict[str, Any], **said: Any) -> dict[str, Any]:
        refs = [{"job_id": job["id"], "fence": job["fence"]} for job in held]
        return await self.api.ok("POST", "/heartbeat", {**self.who, "held": refs, **said})


class Api:
    """Calls a broker."""

    def __init__(self, client: httpx.AsyncClient, broker: Broker, clock: FakeClock) -> None:
        self.client = client
        self.broker = broker
        self.clock = clock

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        async with asyncio.timeout(LONG_ENOUGH):
            return await self.client.request(method, path, json=body, **options)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        response = await self.call(method, path, body, **options)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def submit(self, code: str = "print(1)", **given: Any) -> str:
        job_id: str = (await self.ok("POST", "/submit", {"code": code, **given}))["job_id"]
        return job_id

    async def node(self, *interpreters: str, **given: Any) -> Node:
        capabilities = {"interpreters": list(interpreters or ("python3",))} | given.pop("capabilities", {})
        body = {"endpoint": "http://localhost:8443", "capabilities": capabilities, "slots": 4} | given
        return Node(self, await self.ok("POST", "/register", body))

    async def status(self, job_id: str) -> dict[str, Any]:
        return await self.ok("GET", f"/status/{job_id}")

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and do what a tick does."""
        self.clock.advance(seconds)
        await self.broker.reaper.tick()


@asynccontextmanager
async def running(directory: Path, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[Api]:
    """A started broker."""
    chosen: Settings = load_settings(**{"database": directory / "broker.db", **settings})
    clock = clock or FakeClock()
    broker = Broker(chosen, STORES["sqlite"](directory), lambda at_least: clock)
    await broker.start()
    transport = httpx.ASGITransport(make_app(broker))
    async with httpx.AsyncClient(transport=transport, base_url="http://broker", timeout=LONG_ENOUGH) as client:
        try:
            yield Api(client, broker, clock)
        finally:
            await broker.stop()
