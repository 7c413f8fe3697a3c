"""A simulated node: speaks docs/node-protocol.md over real sockets and "runs" jobs by reading their code as an order.

Orders: `ok` (exit 0), `exit N`, `platform` (the executor fails), `hang` (until told to stop). `ok` may be followed by a
word that is printed. The output of every run names job, fence and node, so that the auditor can tell whose result was
stored; that of `same` does not, so that runs on honest nodes have equal results.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from dataclasses import dataclass, field
from typing import Any

from chaos.actors import ANSWER_SECONDS, RETRY_FIRST, RETRY_LAST, Actor
from support.history import Call, History
from support.http_connection import request_bytes

Ref = tuple[str, int]


@dataclass(slots=True)
class Run:
    """One attempt in this node's hands."""

    job_id: str
    fence: int
    code: str
    claim_number: int
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the broker (or the lease's end) says that it must not go on."""
    reported: bool = False

    @property
    def ref(self) -> Ref:
        """What names the attempt."""
        return self.job_id, self.fence


class SimNode(Actor):
    """One node with its present session. Its methods are single calls; `work` is a whole agent."""

    def __init__(self, name: str, port: int, history: History, *, slots: int = 1, **capabilities: Any) -> None:
        super().__init__(name, port, history)
        self.slots = slots
        self.capabilities = {"cpu_cores": 2, "memory_gb": 4, "gpu": False, "interpreters": ["python3"]} | capabilities
        self.node_id = self.secret = self.session = ""
        self.lease_seconds = self.beat_seconds = 0.0
        self.held: dict[Ref, Run] = {}
        self.claim_number = 0
        self.claims_done = 0
        self.beats_answered = 0
        self.draining = False
        self.lies = False
        """Whether its result of `same` is one of its own."""
        self._room = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: list[asyncio.StreamWriter] = []

    # -- single calls

    async def register(self) -> None:
        """A new session; what the old one held is forgotten."""
        body: dict[str, Any] = {
            "endpoint": "http://localhost:8443",
            "capabilities": self.capabilities,
            "slots": self.slots,
            "name": self.name,
        }
        if self.node_id:
            body |= {"node_id": self.node_id, "secret": self.secret}
        call = await self.insist("register", "POST", "/register", body)
        assert call.status == 200, (call.status, call.body)
        self.node_id, self.session = call.body["node_id"], call.body["session"]
        self.secret = call.body.get("secret") or self.secret
        self.lease_seconds, self.beat_seconds = call.body["lease_seconds"], call.body["heartbeat_seconds"]
        self.drop_all()
        self.claim_number = self.claims_done = 0

    def identity(self) -> dict[str, Any]:
        """What every call of this session carries."""
        return {"node_id": self.node_id, "session": self.session}

    async def beat(self, *, held: bool = True, **fields: Any) -> Call:
        """One heartbeat, obeyed: lost and cancelled runs are stopped."""
        body = self.identity() | {"free_slots": self.slots - len(self.held), "draining": self.draining}
        if held:
            refs = [{"job_id": job_id, "fence": fence} for job_id, fence in self.held]
            body |= {"held": refs, "claims_done": self.claims_done}
        call = await self.call(
            "heartbeat", "POST", "/heartbeat", body | fields, seconds=min(ANSWER_SECONDS, self.lease_seconds)
        )
        if call.ok:
            self.beats_answered += 1
            for lost in call.body.get("lost", []):
                self.stop((lost["job_id"], lost["fence"]))
            for cancel in call.body.get("cancel", []):
                self.stop((cancel["job_id"], cancel["fence"]), forget=False)
        return call

    async def claim(
        self, *, wait: float = 0, max_jobs: int = 1, number: int | None = None, seconds: float = ANSWER_SECONDS
    ) -> list[Run]:
        """One claim, not repeated. A lost answer leaves `claims_done` where it was."""
        call = await self.claim_call(wait=wait, max_jobs=max_jobs, number=number, seconds=seconds)
        return self.take(call)

    async def claim_call(
        self, *, wait: float = 0, max_jobs: int = 1, number: int | None = None, seconds: float = ANSWER_SECONDS
    ) -> Call:
        """The claim's call; `number` repeats an earlier one."""
        if number is None:
            self.claim_number += 1
            number = self.claim_number
        body = self.identity() | {"claim_number": number, "wait": wait, "max_jobs": max_jobs}
        return await self.call("claim", "POST", "/claim", body, seconds=wait + seconds)

    def take(self, call: Call) -> list[Run]:
        """The attempts that an answered claim grants, now held."""
        if not call.ok:
            return []
        number = call.request["claim_number"]
        runs = []
        for job in call.body["jobs"]:
            run = self.held.setdefault((job["id"], job["fence"]), Run(job["id"], job["fence"], job["code"], number))
            runs.append(run)
        self.claims_done = max(self.claims_done, number)
        return runs

    async def start(self, run: Run) -> Call:
        """Tell that the program runs."""
        refs = [{"job_id": run.job_id, "fence": run.fence}]
        return await self.insist("start", "POST", "/start", self.identity() | {"jobs": refs})

    async def complete(self, run: Run, *, once: bool = False, **fields: Any) -> Call:
        """Deliver a result; repeated until answered unless `once`."""
        send = self.call if once else self.insist
        call = await send("complete", "POST", "/complete", self.identity() | self.outcome(run, **fields))
        if call.status is not None:
            self.held.pop(run.ref, None)
        return call

    def outcome(self, run: Run, **fields: Any) -> dict[str, Any]:
        """The body of a completion by the run's code."""
        order, _, argument = run.code.partition(" ")
        whose = argument if order == "same" and not self.lies else f"{argument}|{run.job_id}|{run.fence}|{self.name}"
        result: dict[str, Any] = {"exit_code": 0, "error": "", "output": whose}
        if order == "exit":
            result |= {"exit_code": int(argument)}
        elif order == "platform":
            result |= {"exit_code": None, "failure": "platform", "message": "the executor did not start"}
        return {"job_id": run.job_id, "fence": run.fence} | result | fields

    async def run_all(self) -> None:
        """Claim and complete, without beats or links, until somebody cancels it."""
        while True:
            for run in await self.claim(wait=20, max_jobs=2):
                await self.complete(run)

    async def release(self, runs: list[Run], reason: str = "draining") -> Call:
        """Hand attempts back unrun."""
        refs = [{"job_id": run.job_id, "fence": run.fence} for run in runs]
        call = await self.insist("release", "POST", "/release", self.identity() | {"jobs": refs, "reason": reason})
        for run in runs:
            self.held.pop(run.ref, None)
        return call

    async def open_link(self) -> asyncio.StreamWriter:
        """The always-open connection, heard in the background; close the writer to break it. ConnectionError when the
        broker stops just then."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._links.append(writer)
        body = json.dumps(self.identity()).encode()
        writer.write(request_bytes("POST", "/link", body))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)
        line = head.split(b"\r\n")[0]
        if b" 503 " in line:
            raise ConnectionError(line)
        assert b" 200 " in line, head
        self._spawn(self._hear(reader))
        return writer

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if not line.startswith(b"{"):  # a chunk's size or end
                    continue
                notice = json.loads(line)
                self.history.heard(self.name, notice)
                if notice["type"] in ("lost", "cancel"):
                    self.stop((notice["job_id"], notice["fence"]), forget=notice["type"] == "lost")
                elif notice["type"] == "drain":
                    self.draining = True

    # -- a whole agent

    def stop(self, ref: Ref, *, forget: bool = True) -> None:
        """End a run; `forget` it when its result is not wanted."""
        run = self.held.get(ref)
        if run is not None:
            run.stopped.set()
            if forget:
                del self.held[ref]

    def drop_all(self) -> None:
        """What self-fencing does: every sandbox is killed."""
        for ref in list(self.held):
            self.stop(ref)

    async def work(self, *, link: bool = False) -> None:
        """Register, beat, claim and run until cancelled, as an agent does."""
        await self.register()
        if link:
            await self._open_first_link()
        self._spawn(self._beats())
        try:
            while True:
                await self._claim_once()
        finally:
            await self.end_tasks()

    async def _open_first_link(self) -> None:
        """As often as it takes: the broker may be away, or stop, just then."""
        while True:
            try:
                await self.open_link()
            except (OSError, EOFError, TimeoutError):
                await asyncio.sleep(RETRY_FIRST)  # the agent's backoff
            else:
                return

    async def end_tasks(self) -> None:
        """End everything that runs in the background, without a word to the broker: a killed node."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        links, self._links = self._links, []
        for link in links:
            link.transport.abort()
            with contextlib.suppress(OSError):
                await link.wait_closed()
        self.close()

    async def _claim_once(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: len(self.held) < self.slots)
        call = await self.claim_call(wait=1, max_jobs=self.slots - len(self.held))
        pause = RETRY_FIRST
        for _ in range(6):  # the answer got lost: ask for the same again, for a while
            if call.status not in (None, 503):
                break
            await asyncio.sleep(random.uniform(pause / 2, pause))  # the agent's backoff
            pause = min(RETRY_LAST, pause * 2)
            call = await self.claim_call(wait=1, max_jobs=call.request["max_jobs"], number=call.request["claim_number"])
        if call.status in (404, 409):
            await self.register()
        for run in self.take(call):
            self._spawn(self._run(run))
        self.claims_done = max(self.claims_done, call.request["claim_number"]) if call.status not in (404, 409) else 0

    async def _beats(self) -> None:
        loop = asyncio.get_running_loop()
        good_until = loop.time() + self.lease_seconds
        while True:
            sent_at = loop.time()
            call = await self.beat()
            if call.ok:
                good_until = sent_at + self.lease_seconds
            elif call.status in (404, 409):
                await self.register()
                good_until = loop.time() + self.lease_seconds
            elif loop.time() > good_until:
                self.drop_all()  # the lease is over: somebody else may have the jobs
            await self._notify_room()
            await asyncio.sleep(self.beat_seconds * random.uniform(0.8, 1.0) if call.ok else RETRY_FIRST)

    async def _run(self, run: Run) -> None:
        if run.code.startswith("hang"):
            await self.start(run)
            await run.stopped.wait()
            if run.ref in self.held:  # cancelled, not lost
                await self.complete(run, failure="cancelled", exit_code=None)
        else:
            await self.complete(run)
        await self._notify_room()

    async def _notify_room(self) -> None:
        async with self._room:
            self._room.notify_all()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
