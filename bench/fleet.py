"""Hundreds of agents in one process, seen from the broker: `python -m bench.fleet PORT AGENTS`.

Each has a link, beats and a claim that hangs, three connections as an agent has them, and completes what it is given.
Orders come by standard input, a line each, and are answered by a line when they are carried out:

- `begin`: register all.
- `together` or `apart`: how all come back when the broker has gone and is there again: at the same moment, or as agents
  do, with the pauses of agent.backoff. The link comes first, the beat and the claim when it is there.
- `back`: wait until each has again a link, an answered beat and, if it had to, a new session; the answer says after how
  many seconds from the first moment at which the broker took a connection, and how many of them are new nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

from agent.backoff import Backoff, jittered
from bench.load import PYTHON_NODE, BenchNode, Wire
from support.http_connection import json_request, request_bytes

LINK_BASE, LINK_CAP = 0.05, 1.0
"""As agent.link has them."""
CLAIM_WAIT = 20.0
BEAT_SECONDS = 3.0
PROBE_SECONDS = 0.005
SLOTS = 2


class Agent(BenchNode):
    """One of them."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.port)
        self._fleet = fleet
        self._beats = Wire(fleet.port)
        self.known: dict[str, Any] = {}
        self.backs = 0
        """How often it was there again."""

    async def register(self) -> None:
        """A new session, as the node of before if there was one that the broker still knows."""
        body = {"endpoint": "http://localhost:8443", "capabilities": PYTHON_NODE, "slots": SLOTS}
        answer = await self.wire.ask("POST", "/register", body | self.known)
        self._fleet.registered += 1
        self.known = {"node_id": answer["node_id"], "secret": answer.get("secret") or self.known["secret"]}
        self.head = f'"node_id":"{answer["node_id"]}","session":"{answer["session"]}"'

    async def live(self) -> None:
        """For ever, whatever the broker does."""
        backoff = Backoff(LINK_BASE, LINK_CAP)
        known = True
        while True:
            try:
                if not known:
                    await self.register()
                known = await self._session(backoff)
            except OSError:
                pass
            if known:
                await self._fleet.pause(backoff)

    async def _session(self, backoff: Backoff) -> bool:
        """Until the link breaks or cannot be had; whether the broker still knows the session, as far as it said."""
        known = True
        try:
            async with asyncio.TaskGroup() as group:
                async for _ in self._link():
                    backoff.reset()
                    group.create_task(self._claims())
                    group.create_task(self._beat_for_ever())
        except* (OSError, EOFError, RuntimeError) as errors:
            known = not _says_gone(errors)
        return known

    async def _link(self) -> AsyncIterator[None]:
        """Gives once, when the link is open; ends with ConnectionError when it breaks."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._fleet.port)
        try:
            writer.write(request_bytes("POST", "/link", f"{{{self.head}}}".encode()))
            status = await reader.readline()
            if b" 404 " in status or b" 409 " in status:
                raise RuntimeError("gone")
            if b" 200 " not in status:
                raise ConnectionError(status)
            while (await reader.readline()).strip():
                pass
            yield
            while await reader.readline():
                pass
            raise ConnectionError("the link broke")
        finally:
            writer.transport.abort()

    async def _beat_for_ever(self) -> None:
        first = True
        while True:
            await self._beats.send(request_bytes("POST", "/heartbeat", f"{{{self.head}}}".encode()))
            if first:
                self._fleet.is_back(self)
                first = False
            await asyncio.sleep(jittered(BEAT_SECONDS, 0.2))

    async def _claims(self) -> None:
        while True:
            answer = await self.wire.send(self.claim_request(SLOTS, CLAIM_WAIT))
            for job in json.loads(answer.body)["jobs"]:
                await self.complete(job)


def _says_gone(errors: BaseExceptionGroup[BaseException]) -> bool:
    return any("gone" in str(error) or "answered 40" in str(error) for error in errors.exceptions)


class Fleet:
    """All agents of this process."""

    def __init__(self, port: int, size: int) -> None:
        self.port = port
        self.registered = 0
        self._agents = [Agent(self) for _ in range(size)]
        self._together = False
        self._backs = 0
        self._enough = asyncio.Event()
        self._open = asyncio.Event()
        self._opened_at = self._last_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def obey(self, order: str) -> str:
        """Carry out an order; the answer."""
        if order == "begin":
            for start in range(0, len(self._agents), 50):
                await asyncio.gather(*(agent.register() for agent in self._agents[start : start + 50]))
            self._open.set()
            self._tasks = [asyncio.create_task(agent.live()) for agent in self._agents]
            await self._all_back()
        elif order in ("together", "apart"):
            self._together = order == "together"
            self._backs = self.registered = 0
            self._enough.clear()
            self._open.clear()
            self._tasks.append(asyncio.create_task(self._watch_for_broker()))
        elif order == "back":
            await self._all_back()
            return json.dumps({"seconds": self._last_at - self._opened_at, "registered": self.registered})
        return "{}"

    def is_back(self, agent: Agent) -> None:
        """An agent has its link and an answered beat."""
        agent.backs += 1
        self._backs += 1
        self._last_at = time.perf_counter()
        if self._backs >= len(self._agents):
            self._enough.set()

    async def pause(self, backoff: Backoff) -> None:
        """Before the next try."""
        if self._together:
            await self._open.wait()
        await asyncio.sleep(0.0 if self._together else backoff.next())

    async def _watch_for_broker(self) -> None:
        """First until it is gone, then until it is there."""
        for there in (False, True):
            while await self._is_there() is not there:  # noqa: ASYNC110  # no event: it is another process
                await asyncio.sleep(PROBE_SECONDS)
        self._opened_at = time.perf_counter()
        self._open.set()

    async def _is_there(self) -> bool:
        wire = Wire(self.port)
        try:
            await wire.send(json_request("GET", "/ready"))
        except (OSError, RuntimeError):
            return False
        finally:
            wire.close()
        return True

    async def _all_back(self) -> None:
        await self._enough.wait()


async def _main(port: int, size: int) -> None:
    fleet = Fleet(port, size)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(await fleet.obey(line.decode().strip()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("agents", type=int)
    arguments = parser.parse_args()
    uvloop.run(_main(arguments.port, arguments.agents))
