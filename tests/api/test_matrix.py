"""Who may call what, over real HTTP: every documented call by every kind of caller, against a broker process.

The calls come from the OpenAPI document and the rules from broker.api.access, so that a new endpoint is tested as soon
as it is there. What is expected of a rule is written down here once more, on purpose.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from broker.api.access import RULES, WEBSOCKET, Rule
from support.broker_process import BrokerProcess

pytestmark = pytest.mark.anyio

ALLOWED = 0
"""Neither 401, 403 nor a failure of the broker; and for an owner's job not the 404 that strangers get."""
EXPECTED: dict[Rule, dict[str, int]] = {
    Rule.PUBLIC: dict.fromkeys(
        (
            "nobody",
            "client",
            "other client",
            "node",
            "other node",
            "join token",
            "metrics",
            "admin",
            "expired",
            "revoked",
        ),
        ALLOWED,
    ),
    Rule.CLIENT: {
        "nobody": 401,
        "client": ALLOWED,
        "other client": ALLOWED,
        "node": 401,
        "other node": 401,
        "join token": 403,
        "metrics": 403,
        "admin": ALLOWED,
        "expired": 401,
        "revoked": 401,
    },
    Rule.OWNER: {
        "nobody": 401,
        "client": ALLOWED,
        "other client": 404,
        "node": 401,
        "other node": 401,
        "join token": 403,
        "metrics": 403,
        "admin": ALLOWED,
        "expired": 401,
        "revoked": 401,
    },
    Rule.NODE: {
        "nobody": 401,
        "client": 401,
        "other client": 401,
        "node": ALLOWED,
        "join token": 401,
        "metrics": 401,
        "admin": 401,
        "expired": 401,
        "revoked": 401,
        # "other node": see test_no_node_acts_for_another
    },
    Rule.JOIN: {
        "nobody": 401,
        "client": 403,
        "other client": 403,
        "node": 401,
        "other node": 401,
        "join token": ALLOWED,
        "metrics": 403,
        "admin": 403,
        "expired": 401,
        "revoked": 401,
    },
    Rule.METRICS: {
        "nobody": 401,
        "client": 403,
        "other client": 403,
        "node": 401,
        "other node": 401,
        "join token": 403,
        "metrics": ALLOWED,
        "admin": ALLOWED,
        "expired": 401,
        "revoked": 401,
    },
    Rule.ADMIN: {
        "nobody": 401,
        "client": 403,
        "other client": 403,
        "node": 401,
        "other node": 401,
        "join token": 403,
        "metrics": 403,
        "admin": ALLOWED,
        "expired": 401,
        "revoked": 401,
    },
}
REGISTER = {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}, "slots": 4}
ENDINGS = {("DELETE", "/keys/{key_id}"), ("POST", "/keys/{key_id}/rotate")}
"""Done to a key of their own."""


@dataclass
class World:
    """A broker process, and what every kind of caller shows."""

    client: httpx.AsyncClient
    calls: list[tuple[str, str]] = field(default_factory=list)
    shows: dict[str, dict[str, str]] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def do(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """The status and the beginning of the answer: streams do not end."""
        request = self.client.build_request(method, path, json=body, headers=self.shows[who])
        async with asyncio.timeout(60):
            response = await self.client.send(request, stream=True)
            text = ""
            if response.headers.get("content-type", "").startswith("application/json"):
                text = (await response.aread()).decode()
            await response.aclose()
        return response.status_code, text

    async def ok(self, who: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        status, text = await self.do(who, method, path, body)
        assert status == 200, text
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def job(self) -> str:
        """A new job of `client`."""
        return str((await self.ok("client", "POST", "/submit", {"code": "x"}))["job_id"])

    async def path(self, method: str, template: str) -> str:
        """A template with the ids of things that are there."""
        values = {"sha256": "0" * 64, "name": "index.html", "node_id": self.nodes["node"]["node_id"]}
        if "{job_id}" in template:
            values["job_id"] = await self.job()
        if "{key_id}" in template:
            values["key_id"] = (await self.ok("admin", "POST", "/keys", {"name": "spare"}))["id"]
        return re.sub(r"\{(\w+)(:path)?\}", lambda found: values.get(found[1], "x"), template)

    def body(self, who: str, path: str) -> dict[str, Any] | None:
        """A body that is right as far as it names its caller."""
        if path == "/register":
            return REGISTER
        return dict(self.nodes[who]) if who in self.nodes else {}


async def keys_command(process: BrokerProcess, *arguments: str) -> tuple[int, str]:
    """`broker-keys` as in the container."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker", "keys", *arguments),
        env=process._environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, error = await run.communicate()
    return run.returncode or 0, (out if not run.returncode else error).decode()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BrokerProcess]:
    settings = {"BROKER_AUTH": "required", "BROKER_LIMIT_FAILED_LOGINS_PER_MINUTE": "100000"}
    async with BrokerProcess(tmp_path_factory.mktemp("matrix"), settings) as process:
        yield process


@pytest.fixture(scope="module")
async def world(process: BrokerProcess) -> AsyncIterator[World]:
    code, first = await keys_command(process, "create", "--role", "admin", "--name", "first")
    assert code == 0
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=60) as client:
        world = World(client, shows={"nobody": {}, "admin": {"Authorization": f"Bearer {first.strip()}"}})
        for who, role in (
            ("client", "client"),
            ("other client", "client"),
            ("join token", "node"),
            ("metrics", "metrics"),
            ("revoked", "admin"),
        ):
            made = await world.ok("admin", "POST", "/keys", {"name": who, "role": role})
            world.shows[who] = {"Authorization": f"Bearer {made['key']}"}
            if who == "revoked":
                await world.ok("admin", "DELETE", f"/keys/{made['id']}")
        short = await world.ok("admin", "POST", "/keys", {"name": "short", "role": "admin", "expires_in": 0.001})
        world.shows["expired"] = {"Authorization": f"Bearer {short['key']}"}
        for who in ("node", "other node"):
            said = await world.ok("join token", "POST", "/register", REGISTER)
            world.nodes[who] = {"node_id": said["node_id"], "session": said["session"]}
            world.shows[who] = {"Sandrun-Node": said["node_id"], "Sandrun-Session": said["session"]}
        document = await world.ok("nobody", "GET", "/openapi.json")
        world.calls = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
        yield world
    assert "Traceback" not in process.log_text()
    secrets = [value for shown in world.shows.values() for name, value in shown.items() if name != "Sandrun-Node"]
    assert not any(secret.removeprefix("Bearer ") in process.log_text() for secret in secrets)


async def test_every_call_by_every_caller(world: World) -> None:
    assert len(world.calls) > 30
    wrong = []
    for method, template in world.calls:
        rule = RULES[method, template]
        for who, expected in EXPECTED[rule].items():
            path = await world.path(method, template)
            status, text = await world.do(
                who, method, path, world.body(who, path) if method in ("POST", "PUT") else None
            )
            if expected == ALLOWED:
                good = (
                    status not in (401, 403) and status < 500 and not (rule is Rule.OWNER and "Job not found" in text)
                )
            else:
                good = status == expected and (method == "HEAD" or '"error"' in text)
            if not good:
                wrong.append((method, template, who, status, text[:100]))
    assert not wrong


async def test_the_websocket_by_every_caller(process: BrokerProcess, world: World) -> None:
    job_id = await world.job()
    for who, expected in EXPECTED[RULES[WEBSOCKET, "/stream/{job_id}"]].items():
        url = f"ws://127.0.0.1:{process.port}/stream/{job_id}"
        try:
            async with connect(url, additional_headers=world.shows[who]) as socket:
                assert await socket.recv() == "[STATUS] queued"
            status = ALLOWED
        except InvalidStatus as refused:
            status = refused.response.status_code
        assert (who, status) == (who, expected)


async def test_no_node_acts_for_another(world: World) -> None:
    """Neither with another's id in the body or the headers, nor with its own session for another's id."""
    calls = [line for line in world.calls if RULES[line] is Rule.NODE]
    node, other = world.nodes["node"], world.nodes["other node"]
    mixed_up = [
        (world.shows["other node"], node | {"session": other["session"]}),
        (world.shows["other node"], {"node_id": node["node_id"]}),
        ({"Sandrun-Node": node["node_id"], "Sandrun-Session": other["session"]}, node | {"session": other["session"]}),
        ({"Sandrun-Node": node["node_id"]}, node),
        ({}, node),
    ]
    wrong = []
    for method, template in calls:
        path = await world.path(method, template)
        needs = {"job_id": "x", "jobs": [], "completions": [], "chunks": [], "sha256": []}
        for place, (headers, body) in enumerate(mixed_up):
            if "{job_id}" in template and place < 2:
                continue  # these name their node in the headers only; whose job it is, the fence tests
            async with asyncio.timeout(60):
                response = await world.client.request(method, path, json=body | needs, headers=headers)
            if response.status_code not in (401, 409):
                wrong.append((method, template, place, response.status_code, response.text[:100]))
    assert not wrong
    assert len(calls) >= 7


async def test_the_command_makes_rotates_and_revokes(process: BrokerProcess, world: World) -> None:
    code, text = await keys_command(process, "--json", "create", "--name", "c i", "--expires-in", "30d")
    assert code == 0
    made = json.loads(text)
    assert made["role"] == "client"
    code, turned = await keys_command(process, "rotate", made["id"], "--grace", "0s")
    assert code == 0
    world.shows["turned"] = {"Authorization": f"Bearer {turned.strip()}"}
    assert (await world.do("turned", "GET", "/jobs"))[0] == 200
    world.shows["old"] = {"Authorization": f"Bearer {made['key']}"}
    assert (await world.do("old", "GET", "/jobs"))[0] == 401
    code, listed = await keys_command(process, "list")
    assert made["id"] in listed
    assert turned.strip() not in listed
    assert (await keys_command(process, "revoke", made["id"]))[0] == 0
    assert (await world.do("turned", "GET", "/jobs"))[0] == 401
    code, error = await keys_command(process, "create", "--name", "=cmd|x")
    assert (code, "name" in error) == (1, True)


async def test_only_the_brokers_user_opens_its_socket(process: BrokerProcess) -> None:
    path = Path(process.database).parent / "admin.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(str(path))
    for line in (b"\n", b"[]\n", b'{"command": "no"}\n'):
        writer.write(line)
        async with asyncio.timeout(60):
            assert "error" in json.loads(await reader.readline())
        writer.close()
        reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"x" * 100_000)
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
