"""The bundle with its TLS overlay, started by docker compose as a user does it, with ports and secrets of its own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from support.bundle import free_port

__all__ = ["ROOT_CERTIFICATE", "Overlay", "running"]

ROOT: Final = Path(__file__).resolve().parents[2]
ROOT_CERTIFICATE: Final = "/data/caddy/pki/authorities/local/root.crt"
"""Where Caddy keeps its internal authority's."""


@dataclass
class Overlay:
    """The running overlay: how to call compose, the environment, where it answers, and who vouches for it."""

    compose: list[str]
    environment: dict[str, str]
    https: int
    http: int
    secrets: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    @property
    def key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.secrets / 'admin_key').read_text().strip()}"}

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.secrets / "root.crt"))

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, trust_env=False, timeout=120, **options)

    def run(self, *command: str, **environment: str) -> str:
        """What a compose command prints."""
        run = subprocess.run(
            [*self.compose, *command],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def up(self, *services: str, **environment: str) -> None:
        """Start what is not running, or not as the environment wants it, and wait until it is healthy."""
        self.run("up", "--detach", "--wait", "--wait-timeout", "240", *services, **environment)

    def tls(self, protocol: str, name: str = "localhost", root: str = "root.crt") -> ssl.SSLSocket:
        """A connection that offers one protocol and expects a certificate for a name."""
        context = ssl.create_default_context(cafile=str(self.secrets / root))
        context.set_alpn_protocols([protocol])
        plain = socket.create_connection(("127.0.0.1", self.https), timeout=60)
        return context.wrap_socket(plain, server_hostname=name)


@contextmanager
def running(secrets: Path) -> Iterator[Overlay]:
    """The overlay with one node. `secrets` gets the secrets, and root.crt."""
    ports = free_port(), free_port()
    environment = os.environ | {
        "SANDRUN_SECRETS": str(secrets),
        "SANDRUN_ADDRESS": "127.0.0.1",
        "SANDRUN_HTTPS_PORT": str(ports[0]),
        "SANDRUN_HTTP_PORT": str(ports[1]),
        "SANDRUN_MAX_BODY": "4MiB",
        "SANDRUN_DOMAIN": "localhost",
        "SANDRUN_TLS": "internal",
    }
    files = ["--file", str(ROOT / "compose.yaml"), "--file", str(ROOT / "deploy/tls.yaml")]
    compose = ["docker", "compose", "--project-directory", str(ROOT), *files]
    compose += ["--project-name", f"sandrun-test-tls-{os.getpid()}"]
    subprocess.run([ROOT / "deploy/secrets.sh"], env=environment, check=True, timeout=60)
    overlay = Overlay(compose, environment, *ports, secrets)
    try:
        try:
            overlay.up()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{overlay.run('logs')}") from None
        (secrets / "root.crt").write_text(overlay.run("exec", "-T", "caddy", "cat", ROOT_CERTIFICATE))
        yield overlay
    finally:
        overlay.run("down", "--volumes", "--timeout", "2")
