"""What one client could take that all share: places for uploads, room on the disk, classes, the reader's time."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.keyed import Keyed, keyed
from api.rig import Api, Started
from broker.domain.limits import JOB_BYTES
from broker.store.reader import Reader
from broker.store.sqlite import MAX_LISTINGS

pytestmark = pytest.mark.anyio
KIND = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\ncontent-disposition: form-data; name="files"; filename="a.py"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def slowly(go_on: asyncio.Event, content: bytes = b"print(1)") -> AsyncIterator[bytes]:
    yield HEAD
    await go_on.wait()
    yield content + TAIL


async def upload(api: Keyed, key: str, content: Any) -> int:
    answer = await api.client.post("/submit", headers={**KIND, **bearer(key)}, content=content)
    return answer.status_code


async def test_one_clients_uploads_leave_places_to_others_and_to_nodes(started: Started) -> None:
    async with keyed(started, max_uploads=4) as api:
        one, two = await api.key("client"), await api.key("client")
        go_on = asyncio.Event()
        held = [asyncio.ensure_future(upload(api, one, slowly(go_on))) for _ in range(2)]
        while api.broker.files.from_clients._taken.total() < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await upload(api, one, HEAD + b"1" + TAIL) == 503
        held += [asyncio.ensure_future(upload(api, two, slowly(go_on))) for _ in range(2)]
        while api.broker.files.from_clients._taken.total() < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await upload(api, await api.key("client"), HEAD + b"1" + TAIL) == 503
        node = await api.join()
        await api.ok("POST", "/submit", {"code": "x"}, key=one)
        (job,) = await node.claim()
        path = f"/artifacts/{job['id']}/{'0' * 64}?fence={job['fence']}"
        answer = await api.client.put(path, content=b"x", headers=node.headers)
        assert (answer.status_code, answer.json()["reason"]) == (422, "wrong_checksum"), "it was read"
        go_on.set()
        assert await asyncio.gather(*held) == [200] * 4
        assert not api.broker.files.from_clients._taken


async def test_nobody_sends_what_he_may_not_keep(started: Started) -> None:
    """A refused upload must not have made room by then: what goes first are others' artifacts."""
    async with keyed(started, max_stored_bytes=20_000) as api:
        key = await api.key("client", stored_bytes=JOB_BYTES + 5_000)
        made_room = []
        make_room = api.broker.files.make_room

        async def noted(count: int) -> None:
            made_room.append(count)
            await make_room(count)

        api.broker.files.make_room = noted  # type: ignore[method-assign]
        assert await upload(api, key, HEAD + b"x" * 10_000 + TAIL) == 429
        assert not made_room

        async def undeclared() -> AsyncIterator[bytes]:
            yield HEAD
            for _ in range(100):
                yield b"x" * 1000
            yield TAIL

        assert await upload(api, key, undeclared()) == 429
        go_on = asyncio.Event()
        first = asyncio.ensure_future(upload(api, key, slowly(go_on)))
        (owner,) = [held.key.id for held in api.broker.keys if held.limits.stored_bytes]
        while not api.broker.quotas.shown(owner)["stored_bytes"]["used"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await upload(api, key, HEAD + b"x" * 5_800 + TAIL) == 429, "what arrives counts already"
        go_on.set()
        assert await first == 200
        used = api.broker.quotas.shown(owner)["stored_bytes"]["used"]
        assert JOB_BYTES < used < JOB_BYTES + 500, "once, and as a job"


async def test_one_clients_classes_leave_room_for_others(started: Started) -> None:
    def wanting(number: int) -> dict[str, Any]:
        return {"code": "x", "requires": {"labels": {"n": str(number)}}}

    async with keyed(started, max_classes=20) as api:
        one, two = await api.key("client"), await api.key("client")
        statuses = [(await api.call("POST", "/submit", wanting(n), key=one)).status_code for n in range(11)]
        assert statuses == [200] * 10 + [429]
        batch = await api.call("POST", "/submit/batch", {"jobs": [wanting(n) for n in range(50, 70)]}, key=two)
        assert (batch.status_code, batch.json()["limit"]) == (429, "classes")
        assert (await api.call("POST", "/submit", wanting(0), key=one)).status_code == 200, "a class that it has"
        assert (await api.call("POST", "/submit", wanting(100), key=two)).status_code == 200
        await api.call("DELETE", "/jobs?status=pending", key=one)
        assert (await api.call("POST", "/submit", wanting(11), key=one)).status_code == 200


async def test_cancelled_jobs_do_not_use_up_the_classes(started: Started) -> None:
    async with started(max_classes=5) as api:
        for round_ in range(3):
            for number in range(5):
                await api.submit(requires={"labels": {"n": f"{round_}.{number}"}})
            refused = await api.call("POST", "/submit", {"code": "x", "requires": {"gpu": True}})
            assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
            assert (await api.ok("DELETE", "/jobs?status=pending"))["cancelled"] == 5
        node = await api.node(capabilities={"gpu": True})
        job_id = await api.submit(requires={"gpu": True})
        assert [job["id"] for job in await node.claim()] == [job_id]


async def test_only_so_many_lists_wait_for_the_reader(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Reader, "list_jobs", lambda *_: (go_on.wait(120), ([], None))[1])
    waiting = [asyncio.ensure_future(api.call("GET", "/jobs?text=rare")) for _ in range(MAX_LISTINGS)]
    while api.broker.store._listings < MAX_LISTINGS:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    refused = await api.call("GET", "/jobs")
    assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await api.call("GET", "/jobs")).status_code == 200
