"""Holds the OpenAPI document against a real broker process with schemathesis: no 500, nothing undocumented, no hang.

`make fuzz MINUTES=10` runs it at length, with a new seed each time; tests/api/test_fuzz.py briefly, always the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from support.broker_process import BrokerProcess
from support.http_connection import Connection, json_request

CONFIG = Path(__file__).with_name("schemathesis.toml")
SETTINGS = {"BROKER_LOG_LEVEL": "warning"}
SHORT_WAITS = """
from broker.main import main
from broker.service.queries import Queries
look = Queries._look
Queries._look = lambda self, job_id, read, job_of, wait: look(self, job_id, read, job_of, min(wait, 0.05))
main()
"""
"""The broker, but `?wait=` is over soon: nobody takes these jobs, and a documented wait lasts up to a minute."""


ADMIN_KEY = "an-admin-key-for-fuzzing-that-opens-nothing-else"


def broker(directory: Path, *, keys: bool = False) -> BrokerProcess:
    """The broker that is fuzzed; with keys, ADMIN_KEY is an admin's."""
    settings = SETTINGS
    if keys:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "admin_key").write_text(ADMIN_KEY)
        settings = SETTINGS | {"BROKER_AUTH": "required", "BROKER_ADMIN_KEY_FILE": str(directory / "admin_key")}
    return BrokerProcess(directory, settings, command=(sys.executable, "-c", SHORT_WAITS))


async def new_key(process: BrokerProcess, role: str) -> str:
    """A fresh key of a role."""
    connection = await Connection.open(process.port)
    try:
        body = {"name": f"fuzz {role}", "role": role}
        answer = await connection.send(json_request("POST", "/keys", body, f"authorization: Bearer {ADMIN_KEY}\r\n"))
    finally:
        connection.abort()
    assert answer.status == 200, answer
    key: str = answer.json()["key"]
    return key


async def fuzz(process: BrokerProcess, *options: str, seconds: float, key: str | None = None) -> str:
    """Run schemathesis on the broker; its report, empty when nothing is wrong. AssertionError when it takes longer."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"]
    command += [f"http://127.0.0.1:{process.port}/openapi.json", "--no-shrink", *options]
    if key is not None:
        command += ["--header", f"Authorization: Bearer {key}"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = await asyncio.create_subprocess_exec(
        *command,
        cwd=process.directory,
        env=environment | {"NO_PROXY": "*", "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            report, _ = await run.communicate()
    except TimeoutError:
        run.kill()
        await run.wait()
        raise AssertionError(f"schemathesis did not end within {seconds} s") from None
    return "" if run.returncode == 0 else report.decode(errors="replace")[-20_000:]


async def at_length(minutes: float, directory: Path) -> str:
    """Fuzz for so many minutes: half of them a broker without keys, and one with keys as nobody, a client, an admin."""
    reports = [await one_mode(minutes * 30, directory / "open", None)]
    for role in ("nobody", "client", "admin"):
        reports.append(await one_mode(minutes * 10, directory / role, role))
    return "".join(reports)


async def one_mode(seconds: float, directory: Path, role: str | None) -> str:
    """Fuzz a broker without keys, or one with keys as somebody; what is wrong."""
    async with broker(directory, keys=role is not None) as process:
        key = {"client": await new_key(process, "client") if role else None, "admin": ADMIN_KEY}.get(role or "")
        options = ("--max-time", str(int(seconds)), "--phases", "coverage,fuzzing,stateful")
        report = await fuzz(process, *options, seconds=seconds + 120, key=key)
        log = process.log_text()
    who = "without keys" if role is None else f"with keys, as {role}"
    report = f"=== {who}\n{report}" if report else ""
    return report + (f"\n=== {who}: the broker's log\n{log}" if "Traceback" in log else "")


def main() -> int:
    """Entry point of `make fuzz`; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        report = asyncio.run(at_length(parser.parse_args().minutes, Path(directory)))
    print(report or "nothing found")
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main())
