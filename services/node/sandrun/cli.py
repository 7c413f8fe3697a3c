"""The `sandrun` command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from loglines import EventLog
from sandrun import __version__, logs
from sandrun.api.app import create_app
from sandrun.api.protocol import server_config
from sandrun.directories import DirectoryError, private_directory
from sandrun.identity import Identity, KeyFileError, generate_key
from sandrun.platform import detect_platform
from sandrun.sandbox import kernel
from sandrun.sandbox.launcher import LaunchError
from sandrun.service import Service
from sandrun.settings import Settings, SettingsError

__all__ = ["main"]

log = EventLog("sandrun")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        logs.configure(os.environ.get("LOG_LEVEL", "info").lower(), os.environ.get("LOG_FORMAT", "auto").lower())
    except ValueError as error:
        print(f"sandrun: {error}", file=sys.stderr)
        return 1
    try:
        if given.generate_key is not None:
            print(generate_key(given.generate_key).worker_id)
            return 0
        settings = Settings.load(os.environ, vars(given))
        return _doctor(settings) if given.command == "doctor" else _serve(settings)
    except (SettingsError, KeyFileError, LaunchError, DirectoryError) as error:
        print(f"sandrun: {error}", file=sys.stderr)
        return 1


def _serve(settings: Settings) -> int:
    os.umask(0o022)
    identity = Identity.load(Path(settings.worker_key)) if settings.worker_key else None
    kernel.become_subreaper()
    directory = private_directory(settings.directory)
    platform = detect_platform(directory, settings)
    # From now on temporary files are uploads of up to 128 MiB: they belong where there is room, not into a small /tmp.
    tempfile.tempdir = str(private_directory(directory / "uploads"))
    if platform.report.refusal is not None:
        table = platform.report.table().splitlines()
        log.error("this node runs no jobs", why=platform.report.refusal, lines=table)
    service = Service(settings, platform, identity, directory)
    _Server(service, server_config(create_app(service), settings.host, settings.port)).run()
    return 0


class _Server(uvicorn.Server):
    """Ends the jobs as soon as it is asked to stop: whoever waits for one gets an answer instead of holding it up."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for SIGTERM and SIGINT, between any two instructions: what takes locks is another thread's."""
        threading.Thread(target=self._service.pool.stop, args=(0.0,), daemon=True).start()
        super().handle_exit(sig, frame)


def _doctor(settings: Settings) -> int:
    """Print each layer, how it was proven and what mends it. Exit status 1 when jobs cannot be run."""
    kernel.become_subreaper()
    with tempfile.TemporaryDirectory(prefix="sandrun-doctor-") as directory:
        platform = detect_platform(Path(directory), settings)
    print(platform.report.table())
    print()
    print(
        "interpreters: " + ", ".join(f"{name} {each.version}" for name, each in sorted(platform.interpreters.items()))
    )
    print(f"isolation: {platform.launcher.tier}; memory limit: {platform.memory_mode}")
    print(platform.report.refusal or "Every required layer holds: this node runs jobs.")
    return 0 if platform.report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandrun",
        description="Runs untrusted programs, each in a sandbox of its own, behind an HTTP API.",
        epilog="Every setting is an environment variable too (SANDRUN_PORT …); docs/sandrun.md lists them.",
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve", "doctor"], default="serve", help="doctor: test and tell"
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8443)")
    parser.add_argument("--slots", type=int, help="jobs that run at once (default: by the CPUs and the memory)")
    parser.add_argument("--worker-key", metavar="FILE", help="Ed25519 private key that signs results")
    parser.add_argument("--generate-key", metavar="FILE", type=Path, help="write a new worker key, print its id, end")
    return parser
