"""A broker that asks for keys, and ways to call it with one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from api.rig import Api, Node, Started
from broker.domain.limits import Limits
from broker.domain.principal import Role


class KeyedNode(Node):
    """A node that shows its session."""

    api: "Keyed"

    @property
    def headers(self) -> dict[str, str]:
        return {"Sandrun-Node": self.id, "Sandrun-Session": self.session}


class Keyed(Api):
    """Calls with keys. `admin` and `token` are an admin's key and a join token."""

    admin: str
    token: str

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.shown: dict[str, dict[str, str]] = {}
        """Session -> the headers that its node sends."""

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = dict(options.pop("headers", None) or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        elif isinstance(body, dict) and path not in ("/register", "/session") and "Sandrun-Node" not in headers:
            headers |= self.shown.get(str(body.get("session")), {})
        return await super().call(method, path, body, headers=headers, **options)

    async def key(self, role: str, **limits: int) -> str:
        """A new key."""
        _, text = await self.broker.keys.create(f"a {role}", Role(role), None, Limits(**limits))
        return text

    async def join(self, token: str | None = None) -> KeyedNode:
        """A new node. What it calls through its own methods shows its session."""
        capabilities = {"interpreters": ["python3"]}
        body = {"endpoint": "http://localhost:8443", "capabilities": capabilities, "slots": 4}
        node = KeyedNode(self, await self.ok("POST", "/register", body, key=token or self.token))
        self.shown[node.session] = node.headers
        return node


@asynccontextmanager
async def keyed(started: Started, **settings: Any) -> AsyncIterator[Keyed]:
    """A started broker with BROKER_AUTH=required, an admin's key and a join token."""
    async with started(auth="required", **settings) as plain:
        api = Keyed(plain.client, plain.broker, plain.clock)
        api.admin = await api.key("admin")
        api.token = await api.key("node")
        yield api
