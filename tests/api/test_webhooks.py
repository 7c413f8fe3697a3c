"""Webhooks to real servers on loopback: signed, retried, durable."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from api.rig import running
from api.webhook_receiver import SECRET, MovingClock, RealClock, Receiver, finish, looked_at, settled, telling
from broker.errors import OverloadedError, StoreBrokenError
from broker.service import webhooks
from broker.store.records.submission import Webhook
from support.readme import WHOLE_JOBS, examples
from support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_retries")]


async def test_the_end_of_a_job_is_told_signed_and_without_its_output(tmp_path: Path, receiver: Receiver) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url, labels={"a": "b"})
        assert (await settled(api, job_id))["state"] == "delivered"
        assert (await api.ok("GET", f"/jobs/{job_id}/input"))["callback_url"] == receiver.url
    ((headers, body),) = receiver.got
    said = json.loads(body)
    assert (said["type"], said["data"]["job_id"], said["data"]["exit_code"]) == ("job.failed", job_id, 3)
    assert (said["data"]["labels"], said["data"]["verify"]) == ({"a": "b"}, None)
    assert said["data"]["output_bytes"] == 100_000
    assert len(body) < 2000
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_of_a_verified_job_it_is_told_how_far_that_came(tmp_path: Path, receiver: Receiver) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url, verify={"replicas": 2, "quorum": 2})
        await api.ok("DELETE", f"/jobs/{job_id}")
        await settled(api, job_id)
    told = json.loads(receiver.got[0][1])["data"]["verify"]
    assert told == {"replicas": 2, "quorum": 2, "results": 1, "equal": 1}


async def test_the_check_in_the_documentation(tmp_path: Path, receiver: Receiver) -> None:
    names: dict[str, Any] = {}
    (block,) = examples("Webhooks", WHOLE_JOBS)
    exec(block, names)
    secret = f"whsec_{base64.b64encode(SECRET).decode()}"
    async with running(tmp_path, RealClock(), webhook_secret=secret, webhook_allow="127.0.0.1") as api:
        assert (await settled(api, await finish(api, callback_url=receiver.url)))["state"] == "delivered"
    ((headers, body),) = receiver.got
    genuine = names["genuine"]
    assert genuine(secret, headers, body)
    assert not genuine(secret, headers, body + b" ")
    assert not genuine(secret, {**headers, "webhook-id": "wh_other"}, body)
    assert not genuine(secret, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 400)}, body)
    assert not genuine("whsec_" + base64.b64encode(b"another").decode(), headers, body)


async def test_failures_are_retried_under_the_same_id_and_logged(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 302]
    async with telling(tmp_path, webhook_allow="127.0.0.0/8") as api:
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert [entry["status"] for entry in found["deliveries"]] == [500, 302, 200]
        assert (await api.ok("POST", f"/jobs/{job_id}/webhooks/redeliver"))["redelivered"] == 1
        assert (await settled(api, job_id))["state"] == "delivered"
        await eventually(lambda: len(receiver.got) >= 4)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert all(b"elsewhere" not in body for _, body in receiver.got)


@pytest.mark.parametrize(("answers", "tries"), [([410], 1), ([500, 500, 500, 500, 500], 4)])
async def test_when_it_is_given_up(tmp_path: Path, receiver: Receiver, answers: list[int], tries: int) -> None:
    receiver.answers = answers
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert (found["state"], found["attempts"]) == ("failed", tries)


async def test_what_is_owed_survives_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500]
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        node = await api.node()
        job_id = await api.submit(callback_url=receiver.url)
        (job,) = await node.claim()
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        body = {**node.who, "job_id": job["id"], "fence": job["fence"], "output": "", "error": "", "exit_code": 0}
        assert (await api.call("POST", "/complete", body)).status_code == 200
        await eventually(lambda: bool(receiver.got))
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        assert (await settled(api, job_id))["state"] == "delivered"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


async def test_a_receiver_that_does_not_answer_holds_up_nobody_else(
    tmp_path: Path, receiver: Receiver, another: Receiver
) -> None:
    receiver.may_answer.clear()
    async with telling(tmp_path, webhook_allow="127.0.0.0/8") as api:
        for _ in range(30):
            await finish(api, callback_url=receiver.url)
        await eventually(lambda: len(receiver.got) >= 4)
        await eventually(lambda: api.broker.webhooks.due == 30)
        assert len(api.broker.webhooks._tasks) == 4, "the others are ids in a line"
        job_id = await finish(api, callback_url=another.url)
        assert (await settled(api, job_id))["state"] == "delivered"
        assert len(receiver.got) == 4
        receiver.may_answer.set()
        await eventually(lambda: len(receiver.got) == 30)


async def test_what_cannot_be_written_down_is_written_later(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        store = api.broker.store.webhooks
        write, refusals = store.save, [OverloadedError(), StoreBrokenError()]

        async def refuse(webhook: Webhook) -> None:
            if refusals:
                raise refusals.pop()
            await write(webhook)

        monkeypatch.setattr(store, "save", refuse)
        job_id = await finish(api, callback_url=receiver.url)
        found = await settled(api, job_id)
        assert (found["state"], len(receiver.got)) == ("delivered", 1)


async def test_what_a_crash_left_untold_is_told_although_the_result_has_expired(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(webhooks.Webhooks, "finished", lambda *_: None)  # it ends before it can tell anybody
        async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
            job_id = await finish(api, callback_url=receiver.url)
    assert receiver.got == []
    later = MovingClock()
    later.advance(10_000)
    async with running(tmp_path, later, webhook_secret=SECRET.decode(), webhook_allow="127.0.0.1"):
        await eventually(lambda: bool(receiver.got))
    assert json.loads(receiver.got[0][1])["data"]["job_id"] == job_id


async def test_a_redelivery_does_not_wait_for_the_next_try(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "RETRIES", (3600.0,))
    receiver.answers = [500]
    async with telling(tmp_path, webhook_allow="127.0.0.1") as api:
        job_id = await finish(api, callback_url=receiver.url)
        await looked_at(api, job_id, lambda webhook: webhook["next_at"] is not None)
        assert (await api.ok("POST", f"/jobs/{job_id}/webhooks/redeliver"))["redelivered"] == 1
        assert (await settled(api, job_id))["state"] == "delivered"
        receiver.may_answer.clear()
        under_way = await finish(api, callback_url=receiver.url)
        await eventually(lambda: len(receiver.got) == 3)
        assert (await api.ok("POST", f"/jobs/{under_way}/webhooks/redeliver"))["redelivered"] == 1
        receiver.may_answer.set()
        await eventually(lambda: len(receiver.got) == 4)
        pending = await api.submit(callback_url=receiver.url)
        assert (await api.ok("POST", f"/jobs/{pending}/webhooks/redeliver"))["redelivered"] == 0
