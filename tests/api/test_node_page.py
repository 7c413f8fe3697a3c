"""GET /nodes/{id}: its session, what it holds, what happened to it, what it ran; and what a client sees of that."""

from pathlib import Path
from typing import Any

import pytest

from api.keyed import Keyed, keyed
from api.rig import Api, Node, Started, running
from broker.domain.words import NodeEventKind
from broker.store.ops.node_events import KEPT
from broker.store.records.node import NodeEvent

pytestmark = pytest.mark.anyio


async def page(api: Api, node: Node, query: str = "", **options: Any) -> dict[str, Any]:
    return await api.ok("GET", f"/nodes/{node.id}{query}", **options)


async def happened(api: Api, node: Node) -> list[tuple[Any, ...]]:
    """Kind, session, attempts, reason of all events, the oldest first."""
    events = (await page(api, node))["history"]
    return [(e["kind"], e["session_number"], e["attempts"], e["reason"]) for e in reversed(events)]


async def test_it_says_what_the_list_says_and_more(api: Api) -> None:
    node = await api.node(name="n", version="1.2", slots=3)
    first, second = await api.submit(), await api.submit()
    jobs = await node.claim(max_jobs=2)
    await api.ok("POST", "/start", {**node.who, "jobs": [{"job_id": first, "fence": jobs[0]["fence"]}]})
    seen = await page(api, node)
    (listed,) = (await api.ok("GET", "/nodes"))["nodes"]
    assert listed.items() <= seen.items()
    assert (seen["state"], seen["linked"], seen["session"]["number"], seen["session"]["capacity"]) == (
        ("active", False, 1, 6)
    )
    assert seen["session"]["began_at"] == seen["registered_at"]
    assert [(held["job_id"], held["status"], held["fence"]) for held in seen["held"]] == [
        (first, "running", 1),
        (second, "assigned", 1),
    ]
    assert seen["held"][0]["started_at"]
    assert {(each["job_id"], each["outcome"]) for each in seen["attempts"]} == {(first, None), (second, None)}
    assert (await api.call("GET", "/nodes/nobody")).json() == {"error": "Node not found", "reason": "unknown_node"}
    for wrong in ("x", "1", "1_2", "1_2_3_4", "-1_2_3", "1_2_" + "9" * 30):
        assert (await api.call("GET", f"/nodes/{node.id}?cursor={wrong}")).status_code == 422


async def test_its_history(api: Api) -> None:
    node = await api.node()
    await api.submit()
    await api.submit()
    await node.claim(max_jobs=2)
    await api.pass_time(61)  # silent
    await node.beat()
    await api.pass_time(1)  # returned
    await node.beat(draining=True)
    await api.pass_time(1)  # leaving
    back = await api.node(node_id=node.id, secret=node.secret)
    assert len(await back.claim(max_jobs=2)) == 2
    again = await api.node(node_id=node.id, secret=node.secret)
    for _ in range(2):
        await api.ok("POST", f"/nodes/{node.id}/drain")
        await api.ok("POST", f"/nodes/{node.id}/drain")
        await api.ok("POST", f"/nodes/{node.id}/resume")
    await api.broker.reaper.lost(api.broker.book.check(again.id, again.session))
    assert await happened(api, node) == [
        ("session_began", 1, 0, None),
        ("silent", 1, 2, None),
        ("returned", 1, 0, None),
        ("leaving", 1, 0, None),
        ("session_ended", 1, 0, "left"),
        ("session_began", 2, 0, None),
        ("session_ended", 2, 2, "replaced"),
        ("session_began", 3, 0, None),
        *[("drained", 3, 0, None), ("resumed", 3, 0, None)] * 2,
        ("link_broke", 3, 0, None),
    ]
    texts = [event["text"] for event in (await page(api, node))["history"]]
    assert "Nothing was heard of it until its lease ended; 2 attempts were taken back." in texts
    assert "Session 2 ended: the next one took its place; 2 attempts were taken back." in texts
    assert all(text.endswith(".") for text in texts)


async def test_heartbeats_write_no_history(api: Api) -> None:
    node = await api.node()
    heard = len(await happened(api, node))
    for _ in range(30):
        await node.beat()
        await api.pass_time(1)
    assert len(await happened(api, node)) == heard


async def test_a_broker_that_starts_again_remembers_and_repeats_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        node = await api.node()
        await api.pass_time(61)
        before, clock = await happened(api, node), api.clock
    async with running(tmp_path, clock) as api:
        await api.pass_time(1)
        await api.pass_time(61)
        assert await happened(api, node) == before == [("session_began", 1, 0, None), ("silent", 1, 0, None)]


async def test_history_is_bounded_and_goes_with_its_node(started: Started) -> None:
    async with started(node_retention=60) as api:
        node, other = await api.node(), await api.node()
        now = api.clock.now()
        log = api.broker.store.node_log
        await log.note([NodeEvent(node.id, now, NodeEventKind.RETURNED, n) for n in range(KEPT + 50)])
        events = await log.events(node.id)
        assert [event.session_number for event in events] == list(range(KEPT + 49, 49, -1))
        assert len(await log.events(other.id)) == 1
        await api.pass_time(59)
        await other.beat()
        await api.pass_time(59)
        await api.pass_time(59)
        assert api.broker.book.find(node.id) is None
        assert await log.events(node.id) == []
        assert len(await log.events(other.id)) >= 1
        assert (await api.call("GET", f"/nodes/{node.id}")).status_code == 404


async def test_attempts_come_in_pages_the_newest_first(api: Api) -> None:
    node, other = await api.node(slots=64), await api.node()
    jobs = []
    for _ in range(5):
        jobs += [await api.submit() for _ in range(3)]
        for job in await node.claim(max_jobs=3):
            await node.complete(job, exit_code=3)
        api.clock.advance(1)
    await api.submit()
    await other.claim()
    found: list[str] = []
    cursor = ""
    pages = 0
    while True:
        seen = await page(api, node, f"?limit=4{cursor}")
        found += [attempt["job_id"] for attempt in seen["attempts"]]
        assert {(attempt["outcome"], attempt["exit_code"]) for attempt in seen["attempts"]} <= {("failed", 3)}
        pages += 1
        if seen["next_cursor"] is None:
            break
        cursor = f"&cursor={seen['next_cursor']}"
    assert pages == 4
    assert len(found) == len(set(found)) == 15
    assert set(found[:3]) == set(jobs[-3:])
    assert set(found) == set(jobs)


async def test_a_client_sees_the_node_and_of_jobs_its_own(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.store.node_log.LOOKED_AT", 3)
    async with keyed(started) as api:
        node = await api.join()
        mine, theirs = await api.key("client"), await api.key("client")
        ids: dict[str, list[str]] = {mine: [], theirs: []}
        for turn in range(8):
            key = mine if turn % 4 == 0 else theirs
            ids[key].append((await api.ok("POST", "/submit", {"code": "x"}, key=key))["job_id"])
        for job in (await node.claim(max_jobs=8))[:6]:
            await node.complete(job)
        await api.ok("POST", f"/nodes/{node.id}/drain", {}, key=api.admin)
        text, found, cursor = "", [], ""
        while True:
            seen = await page(api, node, f"?limit=50{cursor}", key=mine)
            text += str(seen)
            found += [attempt["job_id"] for attempt in seen["attempts"]]
            if seen["next_cursor"] is None:
                break
            cursor = f"&cursor={seen['next_cursor']}"
        assert sorted(found) == sorted(ids[mine])
        assert not any(job_id in text for job_id in ids[theirs])
        assert [event["kind"] for event in seen["history"]] == ["drained", "session_began"]
        assert not any(event["by"] or event["by_name"] for event in seen["history"])
        assert seen["session"]["joined_with"] is None
        whole = await page(api, node, key=api.admin)
        assert {each["job_id"] for each in whole["attempts"]} == set(ids[mine] + ids[theirs])
        drained, began = whole["history"]
        assert (drained["by_name"], began["by_name"]) == ("a admin", "a node")
        assert drained["by"] in api.admin
        assert (await api.call("GET", f"/nodes/{node.id}")).status_code == 401
        assert (await api.call("GET", f"/nodes/{node.id}", headers=node.headers)).status_code == 401


async def test_who_put_a_node_out(started: Started) -> None:
    async with keyed(started) as api:
        assert isinstance(api, Keyed)
        token = await api.key("node")
        node = await api.join(token)
        job_id = (await api.ok("POST", "/submit", {"code": "x"}, key=api.admin))["job_id"]
        await node.claim()
        await api.ok("DELETE", f"/keys/{token.split('_')[1]}?evict=true", key=api.admin)
        seen = await page(api, node, key=api.admin)
        ended = seen["history"][0]
        assert (ended["kind"], ended["reason"], ended["attempts"]) == ("session_ended", "evicted", 1)
        assert ended["by_name"] == "a admin"
        assert (await api.ok("GET", f"/jobs/{job_id}", key=api.admin))["status"] == "pending"
