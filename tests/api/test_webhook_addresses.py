"""Where webhooks go: never into the operator's network, and over TLS only to whom the name belongs."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.rig import Api
from api.webhook_receiver import Receiver, finish, looked_at, settled, telling
from broker.domain.addresses import Allowed, is_public
from broker.service import callbacks, webhooks

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_retries")]


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


async def test_no_connection_is_used_twice(tmp_path: Path, receiver: Receiver) -> None:
    """Another name may have the same address: over TLS its webhooks would go to whom this name's certificate names."""
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        for _ in range(3):
            await settled(api, await finish(api, callback_url=receiver.url))
    assert len(set(receiver.ports)) == 3


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
