"""What only a real process on a real socket can show. Crashes, races and stops under load are tested in tests/chaos."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from support.broker_process import BrokerProcess
from support.http_connection import Connection, json_request
from support.raw import Raw

pytestmark = pytest.mark.anyio
SECONDS = 60.0
"""After which a test that waits has failed."""


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    settings = {"BROKER_MAX_BODY_BYTES": "10000", "BROKER_BODY_TIMEOUT": "3", "BROKER_LINK_GRACE": "0.2"}
    async with BrokerProcess(tmp_path, settings) as process:
        yield process


Dial = Callable[[BrokerProcess], Awaitable[Raw]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens connections that are closed after the test."""
    opened: list[Raw] = []

    async def open_one(process: BrokerProcess) -> Raw:
        opened.append(await Raw.open(process.port))
        return opened[-1]

    yield open_one
    for raw in opened:
        await raw.close()


async def call(process: BrokerProcess, method: str, path: str, body: Any = None) -> dict[str, Any]:
    connection = await Connection.open(process.port)
    async with asyncio.timeout(SECONDS):
        answer = await connection.send(json_request(method, path, body))
    connection.abort()
    assert answer.status < 300, answer
    said: dict[str, Any] = answer.json()
    return said


POST = "POST /submit HTTP/1.1\r\nhost: b\r\ncontent-type: application/json\r\n"


async def test_a_chunked_body_is_cut_off_at_the_limit_and_the_connection_lives(
    process: BrokerProcess, dial: Dial
) -> None:
    raw = await dial(process)
    raw.writer.write(f"{POST}transfer-encoding: chunked\r\n\r\n".encode())
    for _ in range(50):
        raw.writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert (await raw.answer())[0] == 413
    raw.writer.write(b"0\r\n\r\n")
    raw.writer.write(json_request("POST", "/submit", {"code": "x"}))
    assert (await raw.answer())[0] == 200


async def test_a_declared_length_is_enough_to_refuse(process: BrokerProcess, dial: Dial) -> None:
    raw = await dial(process)
    raw.writer.write(f"{POST}content-length: 50000000\r\n\r\n".encode())
    status, said = await raw.answer()
    assert (status, said["error"]) == (413, "The body is larger than 10000 bytes.")


async def test_a_body_that_does_not_come_is_not_waited_for(process: BrokerProcess, dial: Dial) -> None:
    raw = await dial(process)
    raw.writer.write(f'{POST}content-length: 100\r\n\r\n{{"code":'.encode())
    assert (await raw.answer())[0] == 408
    async with asyncio.timeout(SECONDS):
        assert await raw.reader.read() == b"", "closed"


async def test_pipelined_calls_are_answered_in_order(process: BrokerProcess, dial: Dial) -> None:
    raw = await dial(process)
    raw.writer.write(b"".join(json_request("POST", "/submit", {"code": str(n)}) for n in range(3)))
    raw.writer.write(b"GET /ready HTTP/1.1\r\nhost: b\r\n\r\n")
    answers = [await raw.answer() for _ in range(4)]
    assert [status for status, _ in answers] == [200] * 4
    assert answers[3][1] == {"status": "ready"}


async def test_a_link_brings_news_and_its_end_frees_the_jobs(process: BrokerProcess, dial: Dial) -> None:
    node = await call(process, "POST", "/register", {"endpoint": "x", "capabilities": {"interpreters": ["sh"]}})
    who = {"node_id": node["node_id"], "session": node["session"]}
    link = await dial(process)
    link.writer.write(json_request("POST", "/link", who))
    assert await link.line() == {"type": "hello"}
    ids = [(await call(process, "POST", "/submit", {"code": "x", "interpreter": "sh"}))["job_id"] for _ in range(2)]
    await call(process, "POST", "/claim", {**who, "max_jobs": 2})
    cancelled = await call(process, "DELETE", f"/jobs/{ids[0]}")
    assert (cancelled["status"], cancelled["cancel_requested"]) == ("assigned", True)
    assert await link.line() == {"type": "cancel", "job_id": ids[0], "fence": 1}
    said = {
        **who,
        "job_id": ids[0],
        "fence": 1,
        "output": "half",
        "error": "",
        "exit_code": None,
        "failure": "cancelled",
    }
    await call(process, "POST", "/complete", said)
    assert (await call(process, "GET", f"/results/{ids[0]}"))["failure"] == "cancelled"
    await call(process, "POST", f"/nodes/{node['node_id']}/drain")
    assert await link.line() == {"type": "drain"}
    second = await dial(process)
    second.writer.write(json_request("POST", "/link", who))
    assert await second.line() == {"type": "hello"}
    async with asyncio.timeout(SECONDS):
        await link.reader.readuntil(b"\r\n0\r\n\r\n")  # the first has ended
    assert (await call(process, "GET", f"/status/{ids[1]}"))["status"] == "assigned"
    await second.close()
    other = await call(process, "POST", "/register", {"endpoint": "y", "capabilities": {"interpreters": ["sh"]}})
    rescued = await call(process, "POST", "/claim", {"node_id": other["node_id"], "wait": 20})
    assert (rescued["job"]["id"], rescued["job"]["fence"]) == (ids[1], 2)


async def test_a_cancelled_job_whose_node_does_not_answer_ends_by_itself(tmp_path: Path, dial: Dial) -> None:
    async with BrokerProcess(tmp_path, {"BROKER_CANCEL_GRACE": "0.2"}) as process:
        node = await call(process, "POST", "/register", {"endpoint": "x", "capabilities": {"interpreters": ["sh"]}})
        link = await dial(process)
        link.writer.write(json_request("POST", "/link", {"node_id": node["node_id"]}))
        await link.line()
        job_id = (await call(process, "POST", "/submit", {"code": "x", "interpreter": "sh"}))["job_id"]
        await call(process, "POST", "/claim", {"node_id": node["node_id"]})
        await call(process, "DELETE", f"/jobs/{job_id}")
        ended = await call(process, "GET", f"/results/{job_id}?wait=20")
        assert (ended["failure"], ended["error"]) == ("cancelled", "The job was cancelled.")


async def test_wrong_settings_are_named_and_end_with_2(tmp_path: Path) -> None:
    process = BrokerProcess(tmp_path, {"MAX_RETRIES": "many"})
    process.spawn()
    assert await process.wait_ended(SECONDS) == 2
    assert "MAX_RETRIES='many'" in process.log_text()
    assert "Traceback" not in process.log_text()


async def test_a_start_that_cannot_be_says_why_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "broker.db").write_text("no database " * 200, encoding="ascii")
    process = BrokerProcess(tmp_path)
    process.spawn()
    assert await process.wait_ended(SECONDS) == 3
    assert "cannot be used as the broker's database" in process.log_text()
    assert "Traceback" not in process.log_text()


async def test_a_clean_stop_ends_with_0(process: BrokerProcess) -> None:
    assert await process.terminate() == 0
    assert "Traceback" not in process.log_text()
