"""Webhooks to real servers on loopback: signed, retried, durable, and never into the operator's network."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from api.rig import Api, Started, running
from broker.domain.addresses import Allowed, is_public
from broker.service import webhooks
from support.clock import FakeClock

pytestmark = pytest.mark.anyio
SECRET = b"the secret of these tests, long enough"
LONG_ENOUGH = 10.0


class Receiver:
    """Answers with the next of `answers`, then 200; keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                """Tests need no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "RETRIES", (0.01, 0.01, 0.01))


@asynccontextmanager
async def telling(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    async with running(folder, clock=MovingClock(), webhook_secret=SECRET.decode(), **settings) as api:
        yield api


class MovingClock(FakeClock):
    """Real time passes in it."""

    def now(self) -> float:
        return super().now() + asyncio.get_event_loop().time()


async def finish(api: Api, **given: Any) -> str:
    node = await api.node()
    job_id = await api.submit(**given)
    (job,) = await node.claim()
    assert (await node.complete(job, exit_code=3, output="x" * 100_000)).status_code == 200
    return job_id


async def settled(api: Api, job_id: str) -> dict[str, Any]:
    return await looked_at(api, job_id, lambda webhook: bool(webhook["state"] != "owed"))


async def looked_at(api: Api, job_id: str, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job's webhook as soon as it is right."""
    async with asyncio.timeout(LONG_ENOUGH):
        while True:
            (found,) = (await api.ok("GET", f"/jobs/{job_id}/webhooks"))["webhooks"]
            if right(found):
                return dict(found)
            await asyncio.sleep(0.01)  # the poll interval


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_ENOUGH):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)  # the poll interval


async def test_the_end_of_a_job_is_told_signed_and_without_its_output(tmp_path: Path, receiver: Receiver) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url, labels={"a": "b"})
        assert (await settled(api, job_id))["state"] == "delivered"
    ((headers, body),) = receiver.got
    said = json.loads(body)
    assert (said["type"], said["data"]["job_id"], said["data"]["exit_code"]) == ("job.failed", job_id, 3)
    assert said["data"]["labels"] == {"a": "b"}
    assert said["data"]["output_bytes"] == 100_000
    assert len(body) < 2000
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_failures_are_retried_under_the_same_id_and_logged(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 302]
    async with telling(tmp_path, webhook_allow="127.0.0.0/8") as api:
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert [entry["status"] for entry in found["deliveries"]] == [500, 302, 200]
        assert (await api.ok("POST", f"/jobs/{job_id}/webhooks/redeliver"))["redelivered"] == 1
        assert (await settled(api, job_id))["state"] == "delivered"
        await until(lambda: len(receiver.got) >= 4)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert all(b"elsewhere" not in body for _, body in receiver.got)


@pytest.mark.parametrize(("answers", "tries"), [([410], 1), ([500, 500, 500, 500, 500], 4)])
async def test_when_it_is_given_up(tmp_path: Path, receiver: Receiver, answers: list[int], tries: int) -> None:
    receiver.answers = answers
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert (found["state"], found["attempts"]) == ("failed", tries)


async def test_private_addresses_are_refused(tmp_path: Path, receiver: Receiver) -> None:
    async with telling(tmp_path) as api:
        job_id = await finish(api, callback_url=receiver.url)
        found = await looked_at(api, job_id, lambda webhook: bool(webhook["deliveries"]))
        assert "BROKER_WEBHOOK_ALLOW" in found["deliveries"][0]["error"]
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    ["ftp://a/", "http://", "x", "http://user:pw@host/", "http://a b/", "http://a/\n", "http://[::1", "http://h:x/"],
)
async def test_urls_that_are_none(api: Api, url: str) -> None:
    refused = await api.call("POST", "/submit", {"code": "1", "callback_url": url})
    assert (refused.status_code, "callback_url" in refused.text) == (422, True)


async def test_what_is_owed_survives_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500]
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        node = await api.node()
        job_id = await api.submit(callback_url=receiver.url)
        (job,) = await node.claim()
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        body = {**node.who, "job_id": job["id"], "fence": job["fence"], "output": "", "error": "", "exit_code": 0}
        assert (await api.call("POST", "/complete", body)).status_code == 200
        await until(lambda: bool(receiver.got))
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        assert (await settled(api, job_id))["state"] == "delivered"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # judged, not bound
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a9fe:a9fe", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
    chosen = Allowed("ci.internal, 10.0.0.0/8").choose("host", [address])
    assert (chosen is not None) is (public or address == "10.1.2.3")
    assert Allowed("ci.internal").choose("CI.internal", [address]) == address


async def test_many_jobs_are_cancelled_by_label(started: Started) -> None:
    async with started() as api:
        node = await api.node()
        mine = [await api.submit(labels={"run": "7"}) for _ in range(5)]
        other = await api.submit(labels={"run": "8"})
        (held,) = await node.claim()
        assert held["id"] == mine[0]
        found = await api.ok("DELETE", "/jobs?label=run=7")
        assert found == {"cancelled": 5, "requested": 0, "more": False}
        assert await api.ok("DELETE", "/jobs?label=run=7") == {"cancelled": 0, "requested": 0, "more": False}
        assert [(await api.status(job_id))["failure"] for job_id in mine] == ["cancelled"] * 5
        assert (await api.status(other))["status"] == "pending"
        assert (await api.call("DELETE", "/jobs")).status_code == 422
        more = [await api.submit(labels={"run": "9"}) for _ in range(3)]
        assert (await api.ok("DELETE", "/jobs?label=run=9&limit=2"))["more"] is True
        assert sorted([(await api.status(job_id))["status"] for job_id in more]) == ["failed", "failed", "pending"]
