"""What a fault test is made of: one faulty broker, its clients and nodes, their history, and the auditor at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.actors import Actor, Client
from chaos.forked import ForkedBroker
from chaos.node import SimNode
from support.auditor import Auditor
from support.broker_process import BrokerProcess, Process
from support.history import History
from support.records import Records

QUICK = {
    "NODE_TIMEOUT": "20",
    "JOB_TIMEOUT": "30",
    "MAX_RETRIES": "3",
    "BROKER_LINK_GRACE": "0.5",
    "BROKER_LINK_TROUBLE_GRACE": "0.5",
    "BROKER_TIMEOUT_GRACE": "1",
}
"""Seconds that keep a scenario short, long against the milliseconds that a call takes. The lease is for scenarios in
which none ends; where one has to, it is three seconds and more: a busy machine stands still for two."""


class FaultyBroker(BrokerProcess):
    """The broker with faults under it (faulty_broker.py)."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._control = directory / "control"
        super().__init__(directory, QUICK | dict(environment or {}) | {"CHAOS_CONTROL": str(self._control)})

    def _launch(self, environment: dict[str, str]) -> Process:
        return ForkedBroker(environment, self.directory, self.log)

    async def arm(self, point: str, action: str = "kill", *, count: int = 1) -> None:
        """At the `count`-th pass of `point`: `kill` or `hold`."""
        await self._order(do="arm", point=point, action=action, count=count)

    async def wait_held(self, seconds: float = 60) -> None:
        """Until a `hold` was reached."""
        answer = await self._order(do="wait_held", seconds=seconds)
        assert answer["held"], f"the armed point was not reached within {seconds} s"

    async def release(self) -> None:
        """Let a held thread go on."""
        await self._order(do="release")

    async def shift_clock(self, seconds: float) -> None:
        """Make the wall clock differ from the real one by `seconds`."""
        await self._order(do="shift", seconds=seconds)

    async def cap_pages(self, spare: int) -> None:
        """Let the database grow by `spare` pages only, from the next transaction on; 0 lifts the cap."""
        await self._order(do="pages", count=spare)

    async def passes(self) -> dict[str, int]:
        """How often each point was passed."""
        answer: dict[str, int] = await self._order(do="passes")
        return answer

    async def _order(self, **order: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._control)
        try:
            writer.write(json.dumps(order).encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), 120)
            answer: dict[str, Any] = json.loads(line or b"{}")  # nothing: it was killed before it could say so
            return answer
        finally:
            writer.close()
            await writer.wait_closed()


class Scenario:
    """A broker with clients and nodes. Leaving the block ends all of it and audits, unless the scenario failed."""

    def __init__(self, directory: Path, *, deletes: bool = False, **environment: str) -> None:
        self.history = History()
        self.broker = FaultyBroker(directory, environment)
        self.records: Records | None = None
        self._deletes = deletes
        self._actors: list[Actor] = []
        self._tasks: dict[SimNode, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Scenario:
        await self.broker.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for node in list(self._tasks):
                await self.kill_node(node)
        finally:  # a node that failed leaves neither connections nor a broker behind
            for actor in self._actors:
                if isinstance(actor, SimNode):
                    await actor.end_tasks()
                actor.close()
            await self.broker.kill()
        if kind is None:
            self.audit()
        else:
            print(f"--- broker log\n{self.broker.log_text()}")

    def audit(self) -> Records:
        """Judge what has happened so far."""
        self.records = Auditor(self.history, self.broker.database, deletes=self._deletes).check()
        return self.records

    def client(self, name: str = "client") -> Client:
        """A client of this scenario."""
        client = Client(name, self.broker.port, self.history)
        self._actors.append(client)
        return client

    def node(self, name: str = "node", *, slots: int = 1, port: int | None = None, **capabilities: Any) -> SimNode:
        """A node of this scenario, not registered; `port` leads it through a proxy."""
        node = SimNode(name, port or self.broker.port, self.history, slots=slots, **capabilities)
        self._actors.append(node)
        return node

    async def registered(self, name: str = "node", *, slots: int = 1, **capabilities: Any) -> SimNode:
        """A registered node that does nothing by itself."""
        node = self.node(name, slots=slots, **capabilities)
        await node.register()
        return node

    def work(self, node: SimNode, *, link: bool = False) -> None:
        """Let the node be an agent of its own."""
        self._tasks[node] = asyncio.create_task(node.work(link=link))

    async def kill_node(self, node: SimNode) -> None:
        """End the node without a word to the broker."""
        task = self._tasks.pop(node)
        failed = task.done() and not task.cancelled() and task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not failed, f"{node.name} failed: {failed!r}"

    async def restart(self, **environment: str) -> None:
        """SIGKILL when it still runs, then start on the same files."""
        await self.broker.kill()
        self.history.mark("restarted")
        await self.broker.start(**environment)
