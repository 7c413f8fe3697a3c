"""Certificates that the overlay did not make itself: given ones, and ones that it gets by ACME from an authority that
checks, as Let's Encrypt does, whether the name leads here."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.bundle import TAG
from support.overlay import ROOT_CERTIFICATE, Overlay
from support.waiting import wait_until

DOMAIN = "broker.example.test"
AUTHORITY = "authority.test"
AUTHORITY_CADDYFILE = f"""
{{
    admin off
    skip_install_trust
    https_port 9443
    auto_https disable_redirects
}}
https://{AUTHORITY} {{
    tls internal
    acme_server
}}
https://given.test {{
    tls internal
}}
"""
FORWARD = """
import asyncio
async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(port, reader, writer):
    there, back = await asyncio.open_connection("caddy", port)
    await asyncio.gather(pipe(reader, back), pipe(there, writer), return_exceptions=True)
async def main():
    for port, inside in ((80, 8080), (443, 8443)):
        await asyncio.start_server(lambda r, w, inside=inside: serve(inside, r, w), port=port)
    await asyncio.Event().wait()
asyncio.run(main())
"""
"""What publishing the ports does on a machine of one's own: the name's ports 80 and 443 lead to Caddy."""


@dataclass
class Authority:
    """A running certificate authority in the overlay's network, and its root certificate."""

    container: str
    root: Path


def docker(*command: str) -> str:
    run = subprocess.run(["docker", *command], capture_output=True, text=True, timeout=150, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="module")
def authority(overlay: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    caddy = overlay.run("ps", "--quiet", "caddy").strip()
    (network,) = json.loads(docker("inspect", caddy))[0]["NetworkSettings"]["Networks"]
    names = [f"sandrun-test-{what}-{uuid.uuid4().hex[:8]}" for what in ("authority", "name")]
    folder = tmp_path_factory.mktemp("authority")
    (folder / "Caddyfile").write_text(AUTHORITY_CADDYFILE)
    try:
        docker(
            *("run", "--detach", "--name", names[0], "--network", network, "--network-alias", AUTHORITY),
            *("--network-alias", "given.test", "--volume", f"{folder}/Caddyfile:/etc/caddy/Caddyfile:ro"),
            f"sandrun-caddy:{TAG}",
        )
        docker(
            *("run", "--detach", "--name", names[1], "--network", network, "--network-alias", DOMAIN),
            *("--entrypoint", "python3", f"sandrun-broker:{TAG}", "-c", FORWARD),
        )
        root = wait_until(lambda: read(names[0], ROOT_CERTIFICATE), seconds=120, what="the authority has a certificate")
        (overlay.secrets / "authority.crt").write_text(root)
        yield Authority(names[0], overlay.secrets / "authority.crt")
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", *names], capture_output=True, check=False, timeout=150)
        overlay.up("caddy")  # as it was


def read(container: str, path: str) -> str:
    run = subprocess.run(
        ["docker", "exec", container, "cat", path], capture_output=True, text=True, timeout=120, check=False
    )
    return run.stdout if run.returncode == 0 else ""


def test_given_certificates_are_shown(overlay: Overlay, authority: Authority) -> None:
    kept = "/data/caddy/certificates/local/given.test/given.test"
    key = wait_until(lambda: read(authority.container, f"{kept}.key"), seconds=120, what="a certificate to give")
    for name, text in (("tls_certificate", read(authority.container, f"{kept}.crt")), ("tls_key", key)):
        (overlay.secrets / name).write_text(text)  # the owner stays, as with a renewal
    overlay.up("caddy", SANDRUN_TLS="files", SANDRUN_DOMAIN="given.test")
    with overlay.tls("http/1.1", "given.test", authority.root.name) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: given.test\r\nConnection: close\r\n\r\n")
        head = connection.recv(65536).decode()
    assert head.startswith("HTTP/1.1 200 ")
    assert "strict-transport-security: max-age=31536000" in head.lower()


def test_certificates_come_by_themselves_from_an_authority_that_checks_the_name(
    overlay: Overlay, authority: Authority, tmp_path: Path
) -> None:
    trusting = tmp_path / "trusting.yaml"  # a public authority needs none of this
    service = {"environment": {"SSL_CERT_FILE": "/authority.crt"}, "volumes": [f"{authority.root}:/authority.crt:ro"]}
    authority.root.chmod(0o644)
    trusting.write_text(json.dumps({"services": {"caddy": service}}))
    overlay.compose += ["--file", str(trusting)]
    try:
        overlay.up(
            "caddy",
            SANDRUN_TLS="acme",
            SANDRUN_DOMAIN=DOMAIN,
            SANDRUN_ACME_CA=f"https://{AUTHORITY}:9443/acme/local/directory",
        )

        def answers() -> str:
            try:
                with overlay.tls("http/1.1", DOMAIN, authority.root.name) as connection:
                    connection.sendall(
                        b"GET /health HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % DOMAIN.encode()
                    )
                    return connection.recv(65536).decode()
            except OSError:  # no certificate yet
                return ""

        head = wait_until(answers, seconds=200, what=overlay.run("logs", "caddy"))
    finally:
        del overlay.compose[-2:]
    assert head.startswith("HTTP/1.1 200 ")
    assert "strict-transport-security: max-age=31536000" in head.lower()
