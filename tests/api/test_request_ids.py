"""Each call has an id: the caller's own if it is one; it is answered, logged, and kept with the job."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.rig import Api
from support.broker_process import BrokerProcess
from support.http_connection import json_request
from support.raw import Raw

pytestmark = pytest.mark.anyio
MADE = re.compile(r"[0-9a-f]{10}-[0-9a-f]+")


async def test_a_sane_id_is_answered_and_another_replaced(api: Api) -> None:
    for sane in ("a", "0199-ab_c.d", "x" * 128):
        answer = await api.call("GET", "/ready", headers={"X-Request-Id": sane})
        assert answer.headers.get_list("x-request-id") == [sane]
    for odd in ("", " ", "a b", "a/b", "x" * 129, "a;b", "é".encode()):
        answer = await api.call("GET", "/ready", headers={"X-Request-Id": odd})
        assert MADE.fullmatch(answer.headers["x-request-id"]), odd
    first, second = [(await api.call("GET", "/ready")).headers["x-request-id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/status/nobody", None, 404),
        ("GET", "/no/such/path", None, 404),
        ("PUT", "/submit", None, 405),
        ("POST", "/submit", {"code": 1}, 422),
        ("GET", "/docs", None, 200),
        ("GET", "/", None, 200),
        ("GET", "/openapi.json", None, 200),
    ],
)
async def test_every_answer_has_one(api: Api, method: str, path: str, body: Any, status: int) -> None:
    answer = await api.call(method, path, body, headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "mine")


async def test_a_job_tells_by_which_call_it_came(api: Api) -> None:
    one = (await api.ok("POST", "/submit", {"code": "x"}, headers={"X-Request-Id": "from-ci-7"}))["job_id"]
    assert (await api.ok("GET", f"/jobs/{one}"))["request_id"] == "from-ci-7"
    answer = await api.call("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 2})
    for job in answer.json()["job_ids"]:
        assert (await api.ok("GET", f"/jobs/{job}"))["request_id"] == answer.headers["x-request-id"]


async def test_its_node_is_told_too_also_when_it_asks_again(api: Api) -> None:
    node = await api.node()
    await api.ok("POST", "/submit", {"code": "x"}, headers={"X-Request-Id": "from-ci-7"})
    wish = {**node.who, "claim_number": 1}
    for _ in range(2):
        assert (await api.ok("POST", "/claim", wish))["job"]["request_id"] == "from-ci-7"


@pytest.fixture
def chatty() -> Iterator[None]:
    logger = logging.getLogger("broker.jobs")
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("chatty")
async def test_a_jobs_life_is_in_the_log_at_debug(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    node = await api.node()
    job_id = await api.submit(retry_on=["exit"])
    (job,) = await node.claim()
    await api.ok("POST", "/start", {**node.who, "jobs": [{"job_id": job_id, "fence": 1}]})
    await node.complete(job, exit_code=1)
    await api.pass_time(5)
    (job,) = await node.claim()
    await node.complete(job, exit_code=0)
    said = [(r.message, r.fields) for r in caplog.records if getattr(r, "fields", {}).get("job") == job_id]  # type: ignore[attr-defined]
    assert [message for message, _ in said] == [
        "job was submitted",
        "job was claimed",
        "job started",
        "job runs again: retry_on asks for it",
        "job was claimed",
        "job ended",
    ]
    for attempt, place in ((1, 1), (1, 2), (2, 4)):
        facts = said[place][1]
        assert (facts["attempt"], facts["node"], facts["session"]) == (attempt, node.id, 1)
    assert said[-1][1]["status"] == "completed"
    assert said[-1][1]["fence"] == 2


async def test_a_websocket_is_told_its_id(tmp_path: Any) -> None:
    async with BrokerProcess(tmp_path) as process:
        raw = await Raw.open(process.port)
        await raw.send(
            json_request("POST", "/submit", {"code": "x"}, "connection: close\r\nx-request-id: over-tcp\r\n")
        )
        text = (await raw.rest()).decode()
        assert "x-request-id: over-tcp\r\n" in text.lower()
        await raw.close()
        found = re.search(r'"job_id":"([^"]+)"', text)
        assert found
        url = f"ws://127.0.0.1:{process.port}/stream/"
        async with connect(url + found[1], additional_headers={"X-Request-Id": "ws-1"}) as socket:
            assert socket.response is not None
            assert socket.response.headers["x-request-id"] == "ws-1"
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{process.port}/nowhere")
