"""Webhooks to real servers on loopback: signed, retried, durable, and never into the operator's network."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.rig import Api, Started, running
from broker.domain.addresses import Allowed, is_public
from broker.errors import OverloadedError, StoreBrokenError
from broker.service import callbacks, webhooks
from broker.store.records.submission import Webhook
from support.clock import FakeClock
from support.readme import WHOLE_JOBS, examples

pytestmark = pytest.mark.anyio
SECRET = b"the secret of these tests, long enough"
LONG_ENOUGH = 10.0


class Receiver:
    """Answers with the next of `answers`, then 200, once it may; keeps what it got, and from which ports."""

    def __init__(self, address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.ports: list[int] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.ports.append(self.client_address[1])
                receiver.may_answer.wait(LONG_ENOUGH)
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                """Tests need no log."""

        self.server = ThreadingHTTPServer((address, 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http://{address}:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def another() -> Iterator[Receiver]:
    made = Receiver("127.0.0.2")
    yield made
    made.close()


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


class RealClock(FakeClock):
    """The machine's: a receiver compares the timestamp with its own."""

    def now(self) -> float:
        return time.time()


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
        assert (await api.ok("GET", f"/jobs/{job_id}/input"))["callback_url"] == receiver.url
    ((headers, body),) = receiver.got
    said = json.loads(body)
    assert (said["type"], said["data"]["job_id"], said["data"]["exit_code"]) == ("job.failed", job_id, 3)
    assert (said["data"]["labels"], said["data"]["verify"]) == ({"a": "b"}, None)
    assert said["data"]["output_bytes"] == 100_000
    assert len(body) < 2000
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_of_a_verified_job_it_is_told_how_far_that_came(tmp_path: Path, receiver: Receiver) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url, verify={"replicas": 2, "quorum": 2})
        await api.ok("DELETE", f"/jobs/{job_id}")
        await settled(api, job_id)
    told = json.loads(receiver.got[0][1])["data"]["verify"]
    assert told == {"replicas": 2, "quorum": 2, "results": 1, "equal": 1}


async def test_the_check_in_the_documentation(tmp_path: Path, receiver: Receiver) -> None:
    names: dict[str, Any] = {}
    (block,) = examples("Webhooks", WHOLE_JOBS)
    exec(block, names)
    secret = f"whsec_{base64.b64encode(SECRET).decode()}"
    async with running(tmp_path, RealClock(), webhook_secret=secret, webhook_allow="127.0.0.1") as api:
        assert (await settled(api, await finish(api, callback_url=receiver.url)))["state"] == "delivered"
    ((headers, body),) = receiver.got
    genuine = names["genuine"]
    assert genuine(secret, headers, body)
    assert not genuine(secret, headers, body + b" ")
    assert not genuine(secret, {**headers, "webhook-id": "wh_other"}, body)
    assert not genuine(secret, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 400)}, body)
    assert not genuine("whsec_" + base64.b64encode(b"another").decode(), headers, body)


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
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::808:808", False),
        ("::127.0.0.1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
    chosen = Allowed("ci.internal, 10.0.0.0/8").choose("host", [address])
    assert (chosen is not None) is (public or address == "10.1.2.3")
    assert Allowed("ci.internal").choose("CI.internal", [address]) == address


async def test_a_receiver_that_does_not_answer_holds_up_nobody_else(
    tmp_path: Path, receiver: Receiver, another: Receiver
) -> None:
    receiver.may_answer.clear()
    async with telling(tmp_path, webhook_allow="127.0.0.0/8") as api:
        for _ in range(30):
            await finish(api, callback_url=receiver.url)
        await until(lambda: len(receiver.got) >= 4)
        job_id = await finish(api, callback_url=another.url)
        assert (await settled(api, job_id))["state"] == "delivered"
        assert len(receiver.got) == 4
        receiver.may_answer.set()
        await until(lambda: len(receiver.got) == 30)


async def test_no_connection_is_used_twice(tmp_path: Path, receiver: Receiver) -> None:
    """Another name may have the same address: over TLS its webhooks would go to whom this name's certificate names."""
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        for _ in range(3):
            await settled(api, await finish(api, callback_url=receiver.url))
    assert len(set(receiver.ports)) == 3


async def test_what_cannot_be_written_down_is_written_later(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        store = api.broker.store.webhooks
        write, refusals = store.save, [OverloadedError(), StoreBrokenError()]

        async def refuse(webhook: Webhook) -> None:
            if refusals:
                raise refusals.pop()
            await write(webhook)

        monkeypatch.setattr(store, "save", refuse)
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert (found["state"], len(receiver.got)) == ("delivered", 1)


async def test_what_a_crash_left_untold_is_told_although_the_result_has_expired(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(webhooks.Webhooks, "finished", lambda *_: None)  # it ends before it can tell anybody
        async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
            job_id = await finish(api, callback_url=receiver.url)
    assert receiver.got == []
    later = MovingClock()
    later.advance(10_000)
    async with running(tmp_path, later, webhook_secret=SECRET.decode(), webhook_allow="127.0.0.1"):
        await until(lambda: bool(receiver.got))
    assert json.loads(receiver.got[0][1])["data"]["job_id"] == job_id


async def test_a_redelivery_does_not_wait_for_the_next_try(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "RETRIES", (3600.0,))
    receiver.answers = [500]
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url)
        await looked_at(api, job_id, lambda webhook: webhook["next_at"] is not None)
        assert (await api.ok("POST", f"/jobs/{job_id}/webhooks/redeliver"))["redelivered"] == 1
        assert (await settled(api, job_id))["state"] == "delivered"
        receiver.may_answer.clear()
        under_way = await finish(api, callback_url=receiver.url)
        await until(lambda: len(receiver.got) == 3)
        assert (await api.ok("POST", f"/jobs/{under_way}/webhooks/redeliver"))["redelivered"] == 1
        receiver.may_answer.set()
        await until(lambda: len(receiver.got) == 4)
        pending = await api.submit(callback_url=receiver.url)
        assert (await api.ok("POST", f"/jobs/{pending}/webhooks/redeliver"))["redelivered"] == 0


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Make every look-up of a name give the next of these addresses; the names that were asked for."""
    asked: list[str] = []
    left = list(answers)

    def look_up(host: str, _: int) -> list[str]:
        asked.append(host)
        return [left.pop(0)]

    monkeypatch.setattr(callbacks, "look_up", look_up)
    return asked


async def test_a_name_that_points_elsewhere_after_it_was_judged_leads_nowhere(
    tmp_path: Path, receiver: Receiver, another: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 stands for the internet, 127.0.0.1 for the operator's network."""
    another.answers = [500]
    async with telling(tmp_path, webhook_allow="127.0.0.2") as api:
        asked = resolving(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.2")
        job_id = await finish(api, callback_url=f"http://rebound.test:{another.port}/")
        found = await settled(api, job_id)
    assert [entry["status"] for entry in found["deliveries"]] == [500, None, 200]
    assert (asked, receiver.got) == (["rebound.test"] * 3, [])
    assert [headers["host"] for headers, _ in another.got] == [f"rebound.test:{another.port}"] * 2


async def test_a_name_beyond_ascii(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        asked = resolving(monkeypatch, "127.0.0.1")
        job_id = await finish(api, callback_url=f"http://bücher.test:{receiver.port}/häken?ö=ü")
        assert (await settled(api, job_id))["state"] == "delivered"
    assert asked == ["xn--bcher-kva.test"]
    assert receiver.got[0][0]["host"] == f"xn--bcher-kva.test:{receiver.port}"


async def test_certificates_are_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call goes to the address that was judged; the certificate has to be the name's, by a known authority."""
    authority, context = issued(tmp_path, "hooks.test")
    receiver = Receiver(context=context)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setattr(webhooks, "RETRIES", ())
    try:
        async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
            resolving(monkeypatch, "127.0.0.1", "127.0.0.1")
            right = await finish(api, callback_url=f"https://hooks.test:{receiver.port}/")
            assert (await settled(api, right))["state"] == "delivered"
            wrong = await finish(api, callback_url=f"https://other.test:{receiver.port}/")
            found = await settled(api, wrong)
            assert (found["state"], "certificate" in found["deliveries"][0]["error"].lower()) == ("failed", True)
    finally:
        receiver.close()


def issued(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for a name, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "hook.crt", folder / "hook.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return certificate, context


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
