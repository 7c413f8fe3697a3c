"""A server on loopback that gets webhooks, and brokers that send them."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from api.rig import Api, running
from support.clock import FakeClock
from support.waiting import eventually

SECRET = b"the secret of these tests, long enough"
LONG_ENOUGH = 60.0


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

    async def look() -> dict[str, Any] | None:
        (found,) = (await api.ok("GET", f"/jobs/{job_id}/webhooks"))["webhooks"]
        return dict(found) if right(found) else None

    return dict(await eventually(look, what="the webhook is as it should be"))
