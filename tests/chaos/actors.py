"""Clients that ask the broker over real sockets and write down what they asked and were told."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import Any, Final

from support.history import Call, History
from support.http_connection import Answer, Connection, json_request

TERMINAL: Final = ("completed", "failed")
ANSWER_SECONDS: Final = 30.0
RETRY_FIRST, RETRY_LAST = 0.02, 0.5


class Actor:
    """Somebody with a name, some keep-alive connections and a place in the history."""

    def __init__(self, name: str, port: int, history: History) -> None:
        self.name = name
        self.port = port
        self.history = history
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    def close(self) -> None:
        """Cut all connections."""
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()

    async def call(
        self, verb: str, method: str, path: str, body: Any = None, *, headers: str = "", seconds: float = ANSWER_SECONDS
    ) -> Call:
        """One request, sent once. Without an answer within `seconds` the returned call has no status."""
        call = self.history.sent(
            self.name, verb, {"path": path, "headers": headers, **(body if isinstance(body, dict) else {"body": body})}
        )
        try:
            answer = await self._exchange(json_request(method, path, body, headers), seconds)
        except (OSError, TimeoutError):
            return call
        self.history.answered(call, answer.status, json.loads(answer.body) if answer.body else None)
        return call

    async def insist(
        self, verb: str, method: str, path: str, body: Any = None, *, headers: str = "", seconds: float = 120
    ) -> Call:
        """Send until an answer other than 503 comes, as a careful client does; AssertionError after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = RETRY_FIRST
        while True:
            call = await self.call(verb, method, path, body, headers=headers)
            if call.status not in (None, 503):
                return call
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(
                    f"{self.name}: no answer to {verb} within {seconds} s, last {call.status} {call.body}"
                )
            await asyncio.sleep(random.uniform(pause / 2, pause))  # the client's backoff
            pause = min(RETRY_LAST, pause * 2)

    def _open_one(self) -> Connection | None:
        """An idle connection that the broker has not closed."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _exchange(self, request: bytes, seconds: float) -> Answer:
        async with asyncio.timeout(seconds):
            connection = self._open_one() or await Connection.open(self.port)
            self._busy.add(connection)
            try:
                answer = await connection.send(request)
            except BaseException:
                connection.abort()
                raise
            finally:
                self._busy.discard(connection)
            if connection.is_open:
                self._idle.append(connection)
            return answer


class Client(Actor):
    """Submits jobs and asks for their results."""

    async def submit(self, code: str, *, key: str | None = None, **fields: Any) -> str:
        """The new job's id; sent again with the same idempotency key until it is answered."""
        headers = f"idempotency-key: {key or uuid.uuid4().hex}\r\n"
        call = await self.insist("submit", "POST", "/submit", {"code": code, **fields}, headers=headers)
        assert call.status == 200, (call.status, call.body)
        job_id: str = call.body["job_id"]
        return job_id

    async def submit_many(self, codes: list[str], **fields: Any) -> list[str]:
        """The ids of a batch."""
        headers = f"idempotency-key: {uuid.uuid4().hex}\r\n"
        body = {"jobs": [{"code": code, **fields} for code in codes]}
        call = await self.insist("submit_batch", "POST", "/submit/batch", body, headers=headers)
        assert call.status == 200, (call.status, call.body)
        return [job["job_id"] for job in call.body["jobs"]]

    async def status(self, job_id: str) -> dict[str, Any]:
        """What /status says."""
        call = await self.insist("status", "GET", f"/status/{job_id}")
        assert call.status == 200, (call.status, call.body)
        body: dict[str, Any] = call.body
        return body

    async def result(self, job_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """The terminal result, waited for."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            call = await self.insist("results", "GET", f"/results/{job_id}?wait=5", seconds=seconds)
            if call.status == 200:
                body: dict[str, Any] = call.body
                return body
            assert call.status == 202, (call.status, call.body)
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{job_id} has not ended within {seconds} s: {await self.status(job_id)}")

    async def cancel(self, job_id: str) -> Call:
        """Cancel, sent until it is answered."""
        return await self.insist("cancel", "DELETE", f"/jobs/{job_id}")
