"""What was begun with a key ends with it: logins, streams and calls that wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.keyed import Keyed, keyed
from api.rig import Started
from broker.service.logins import MAX_LOGINS_OF_A_KEY

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(started: Started) -> AsyncIterator[Keyed]:
    async with keyed(started) as api:
        yield api


async def a_key(api: Keyed, **given: Any) -> dict[str, Any]:
    return await api.ok("POST", "/keys", {"name": "screen", **given}, key=api.admin)


async def log_in(api: Keyed, key: str, **headers: str) -> dict[str, str]:
    """The cookie of a new login."""
    response = await api.call("POST", "/session", {"key": key}, headers=headers)
    assert response.status_code == 200, response.text
    api.client.cookies.clear()
    return {"Cookie": response.headers["set-cookie"].partition(";")[0], "Sec-Fetch-Site": "same-origin"}


async def is_good(api: Keyed, headers: dict[str, str]) -> bool:
    return (await api.call("GET", "/jobs", headers=headers)).status_code == 200


@asynccontextmanager
async def under_way(api: Keyed, key_id: str, call: Awaitable[httpx.Response]) -> AsyncIterator["asyncio.Future[Any]"]:
    """A call of a key that lasts, once it is under way. It must have ended by itself at the end."""
    future = asyncio.ensure_future(call)
    held = api.broker.keys.find(key_id)
    async with asyncio.timeout(20):
        while not held.lasting:  # noqa: ASYNC110  # nothing tells when it has begun
            await asyncio.sleep(0.01)
        yield future
        await asyncio.wait((future,))
    assert not held.lasting


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


LASTING: dict[str, Callable[[str], str]] = {
    "events": lambda job_id: "/events",
    "a long poll": lambda job_id: f"/results/{job_id}?wait=30",
    "another spelling": lambda job_id: f"/status/{job_id}?%77ait=30",
    "live output": lambda job_id: f"/logs/{job_id}?follow=true",
    "output so far": lambda job_id: f"/logs/{job_id}?wait=30",
}


@pytest.mark.parametrize("what", LASTING)
async def test_a_revoked_keys_calls_end_at_once(api: Keyed, what: str) -> None:
    made = await a_key(api)
    job_id = (await api.ok("POST", "/submit", {"code": "x"}, key=made["key"]))["job_id"]
    call = api.call("GET", LASTING[what](job_id), headers=bearer(made["key"]))
    async with under_way(api, made["id"], call) as answer:
        await api.ok("DELETE", f"/keys/{made['id']}", key=api.admin)
    if "wait" in LASTING[what](""):
        assert (answer.result().status_code, answer.result().json()["reason"]) == (401, "key_revoked")
    assert len(api.broker.waits) == len(api.broker.events) == 0


@pytest.mark.parametrize("upload", [False, True])
async def test_a_submit_that_waits_is_taken_once_and_whole(api: Keyed, upload: bool) -> None:
    made = await a_key(api)
    given: dict[str, Any] = {"files": [("files", ("main.py", b"1"))]} if upload else {"json": {"code": "x"}}
    call = api.client.post("/submit?wait=30", headers=bearer(made["key"]), **given)
    async with under_way(api, made["id"], call) as answer:
        async with asyncio.timeout(20):
            while not len(api.broker.waits):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await api.ok("DELETE", f"/keys/{made['id']}", key=api.admin)
    assert answer.result().status_code == 401
    (job,) = (await api.ok("GET", "/jobs", key=api.admin))["jobs"]
    shown = (await api.ok("GET", f"/usage?owner={made['id']}", key=api.admin))["owners"][0]["limits"]
    assert (job["status"], shown["jobs_pending"]["used"], shown["jobs_unfinished"]["used"]) == ("pending", 1, 1)
    node = await api.join()
    assert [job["id"] for job in await node.claim()] == [job["job_id"]]


async def test_a_submit_whose_key_ends_while_it_is_stored_keeps_the_accounts_right(api: Keyed) -> None:
    made = await a_key(api)
    store, let_go = api.broker.submits._store, asyncio.Event()

    class Slow:
        async def submit(self, *given: Any) -> Any:
            await let_go.wait()
            return await store.submit(*given)

    api.broker.submits._store = Slow()  # type: ignore[assignment]
    call = api.call("POST", "/submit?wait=30", {"code": "x", "callback_url": "http://127.0.0.1:9/"}, key=made["key"])
    async with under_way(api, made["id"], call) as answer:
        await api.ok("DELETE", f"/keys/{made['id']}", key=api.admin)
        await asyncio.wait((answer,))
        let_go.set()
        while not (await api.ok("GET", "/jobs", key=api.admin))["jobs"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    shown = (await api.ok("GET", f"/usage?owner={made['id']}", key=api.admin))["owners"][0]["limits"]
    assert (shown["jobs_pending"]["used"], shown["jobs_unfinished"]["used"]) == (1, 1)
    (job,) = (await api.ok("GET", "/jobs", key=api.admin))["jobs"]
    while api.broker.webhooks.due:  # noqa: ASYNC110  # it is being looked whether the job has ended already
        await asyncio.sleep(0.01)
    assert api.broker.webhooks._unfinished == {job["job_id"]}


async def test_rotation_ends_what_was_begun_with_the_old_secret(api: Keyed) -> None:
    made = await a_key(api)
    cookie = await log_in(api, made["key"])
    async with under_way(api, made["id"], api.call("GET", "/events", headers=cookie)) as stream:
        turned = await api.ok("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": 0}, key=api.admin)
        await asyncio.wait((stream,))
    assert not await is_good(api, cookie)
    assert await is_good(api, await log_in(api, turned["key"]))


async def test_a_rotations_grace_is_for_logins_and_streams_too(api: Keyed) -> None:
    made = await a_key(api)
    cookie = await log_in(api, made["key"])
    async with under_way(api, made["id"], api.call("GET", "/events", headers=bearer(made["key"]))) as stream:
        turned = await api.ok("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": 100}, key=api.admin)
        fresh = await log_in(api, turned["key"])
        assert await is_good(api, cookie)
        await api.pass_time(101)
        assert not stream.done(), "nobody has looked yet"
        await api.ok("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": 100}, key=api.admin)
        await asyncio.wait((stream,))
    assert not await is_good(api, cookie)
    assert await is_good(api, fresh), "its secret has a grace again"


async def test_logging_out_ends_the_logins_streams_and_no_others(api: Keyed) -> None:
    made = await a_key(api)
    one, two = await log_in(api, made["key"]), await log_in(api, made["key"])
    async with under_way(api, made["id"], api.call("GET", "/events", headers=two)) as other:
        async with asyncio.timeout(20):
            stream = asyncio.ensure_future(api.call("GET", "/events", headers=one))
            while len(api.broker.events) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await api.ok("DELETE", "/session", headers=one)
            assert (await stream).status_code == 200
        assert not other.done()
        await api.ok("DELETE", "/session", headers=two)


async def test_a_new_login_ends_the_one_that_the_browser_had(api: Keyed) -> None:
    key = await api.key("client")
    first = await log_in(api, key)
    second = await log_in(api, api.admin, Cookie=first["Cookie"])
    assert (await is_good(api, first), await is_good(api, second)) == (False, True)


async def test_a_cookie_that_somebody_else_chose_opens_nothing(api: Keyed) -> None:
    chosen = {"Cookie": "sandrun_session=" + "a" * 32}
    cookie = await log_in(api, api.admin, **chosen)
    assert cookie["Cookie"] != chosen["Cookie"]
    assert not await is_good(api, chosen)


async def test_one_keys_logins_do_not_use_up_everybodys(api: Keyed) -> None:
    key = await api.key("client")
    first = await log_in(api, key)
    for _ in range(MAX_LOGINS_OF_A_KEY):
        last = await log_in(api, key)
    assert (await is_good(api, first), await is_good(api, last)) == (False, True)
    assert len(api.broker.logins) == MAX_LOGINS_OF_A_KEY


async def test_guessing_keys_is_slowed_wherever_they_are_shown(api: Keyed) -> None:
    most = api.broker.settings.limit_failed_logins_per_minute
    wrong = {"Authorization": "Bearer x"}
    statuses = [(await api.call("GET", "/session", headers=wrong)).status_code for _ in range(most + 1)]
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert (await api.call("GET", "/session", key=api.admin)).json()["role"] == "admin"
