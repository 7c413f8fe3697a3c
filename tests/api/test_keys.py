"""Keys: made, used, rotated, revoked; who may do what with them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.keyed import Keyed, keyed
from api.rig import Started
from broker.domain.keytext import hash_of, id_of, new_id, new_key
from broker.errors import StartError
from broker.settings import load_settings, refuse_open

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(started: Started) -> AsyncIterator[Keyed]:
    async with keyed(started) as api:
        yield api


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_a_key_is_found_by_scanners_and_told_from_a_lookalike() -> None:
    key_id = new_id()
    text = new_key(key_id)
    assert text.startswith("sbk_")
    assert len(text) == 66
    assert id_of(text) == key_id
    assert new_key(key_id) != text
    for wrong in (
        text[:-1],
        text + "a",
        text.replace("sbk_", "sbx_"),
        text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
    ):
        assert id_of(wrong) is None
    assert len(hash_of(text)) == 64


async def test_a_key_opens_what_its_role_may_do(api: Keyed) -> None:
    client, other = await api.key("client"), await api.key("client")
    job_id = (await api.ok("POST", "/submit", {"code": "x"}, key=client))["job_id"]
    assert (await api.call("GET", f"/status/{job_id}", key=client)).status_code == 200
    assert (await api.call("GET", f"/status/{job_id}", key=api.admin)).status_code == 200
    refused = await api.call("GET", f"/status/{job_id}", key=other)
    unknown = await api.call("GET", "/status/019a0000-0000-7000-8000-000000000000", key=other)
    assert (
        (refused.status_code, refused.json())
        == (unknown.status_code, unknown.json())
        == (404, {"error": "Job not found"})
    )
    wrong = await api.call("GET", "/keys", key=client)
    assert (wrong.status_code, wrong.json()["reason"]) == (403, "wrong_role")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Bearer sbk_x",
        "Bearer " + "a" * 600,
        "Bearer ключ".encode(),
        b"Bearer \xff",
    ],
)
async def test_what_is_no_key_is_refused(api: Keyed, header: str | bytes) -> None:
    response = await api.client.get(
        "/jobs", headers={b"Authorization": header if isinstance(header, bytes) else header.encode()}
    )
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["reason"] in ("unknown_key", "missing_key")


async def test_two_authorization_headers_stand_for_nobody(api: Keyed) -> None:
    headers = [("Authorization", "Bearer x"), ("Authorization", f"Bearer {api.admin}")]
    assert (await api.client.get("/jobs", headers=headers)).status_code == 401


async def test_nothing_but_a_key_makes_a_principal(api: Keyed) -> None:
    for name in ("sandrun.principal", "Sandrun-Principal", "X-Sandrun-Owner", "X-Remote-User"):
        assert (await api.client.get("/jobs", headers={name: "admin"})).status_code == 401


async def test_a_key_in_the_url_is_refused_with_a_word_on_it(api: Keyed) -> None:
    response = await api.client.get(f"/jobs?key={api.admin}")
    assert response.status_code == 400
    assert "revoke" in response.json()["error"]
    assert api.admin not in response.text


async def test_rotation_leaves_a_grace_and_the_jobs(api: Keyed) -> None:
    made = await api.ok("POST", "/keys", {"name": "ci"}, key=api.admin)
    job_id = (await api.ok("POST", "/submit", {"code": "x"}, key=made["key"]))["job_id"]
    body = {"grace_seconds": 100}
    turned = await api.ok("POST", f"/keys/{made['id']}/rotate", body, key=api.admin)
    assert turned["id"] == made["id"]
    for key in (made["key"], turned["key"]):
        assert (await api.call("GET", f"/status/{job_id}", key=key)).status_code == 200
    await api.pass_time(101)
    assert (await api.call("GET", "/jobs", key=made["key"])).status_code == 401
    assert [job["job_id"] for job in (await api.ok("GET", "/jobs", key=turned["key"]))["jobs"]] == [job_id]


async def test_expired_and_revoked_keys_say_so(api: Keyed) -> None:
    short = await api.ok("POST", "/keys", {"name": "short", "expires_in": 10}, key=api.admin)
    gone = await api.ok("POST", "/keys", {"name": "gone"}, key=api.admin)
    for _ in range(2):
        await api.ok("DELETE", f"/keys/{gone['id']}", key=api.admin)
    await api.pass_time(11)
    for made, reason in ((short, "key_expired"), (gone, "key_revoked")):
        response = await api.call("GET", "/jobs", key=made["key"])
        assert (response.status_code, response.json()["reason"]) == (401, reason)
    shown = {key["id"]: key for key in (await api.ok("GET", "/keys", key=api.admin))["keys"]}
    assert shown[gone["id"]]["revoked_at"]
    assert "key" not in shown[gone["id"]]


async def test_keys_outlive_the_broker_and_no_secret_is_stored(started: Started, tmp_path: Path) -> None:
    async with keyed(started) as api:
        client = await api.key("client")
        await api.ok("GET", "/jobs", key=client)
        admin = api.admin
    stored = everything_in(tmp_path)
    for key in (client, admin):
        assert key.encode() not in stored
        assert key[-40:].encode() not in stored
    async with started(auth="required") as again:
        response = await again.call("GET", "/jobs", headers={"Authorization": f"Bearer {client}"})
        assert response.status_code == 200
        headers = {"Authorization": f"Bearer {admin}"}
        keys = (await again.ok("GET", "/keys", headers=headers))["keys"]
        assert {key["role"]: bool(key["last_used_at"]) for key in keys} == {
            "admin": True,  # by this very call
            "node": False,
            "client": True,
        }


async def test_idempotency_keys_and_identical_jobs_are_each_owners_own(api: Keyed) -> None:
    one, two = await api.key("client"), await api.key("client")
    header = {"Idempotency-Key": "same"}
    first = await api.ok("POST", "/submit", {"code": "a"}, key=one, headers=header)
    second = await api.ok("POST", "/submit", {"code": "b"}, key=two, headers=header)
    assert first["job_id"] != second["job_id"]
    assert "replayed" not in second
    node = await api.join()
    cached = await api.ok("POST", "/submit", {"code": "c", "cache": True}, key=one)
    for job in await node.claim(max_jobs=3):
        await node.complete(job, output="secret")
    again = await api.ok("POST", "/submit", {"code": "c", "cache": True}, key=one)
    foreign = await api.ok("POST", "/submit", {"code": "c", "cache": True}, key=two)
    assert again["cached"]
    assert "cached" not in foreign
    assert foreign["status"] == "pending"
    results = await api.ok("POST", "/results/batch", {"job_ids": [cached["job_id"]]}, key=two)
    assert results["results"] == [{"job_id": cached["job_id"], "error": "Job not found"}]


async def test_lists_show_ones_own(api: Keyed) -> None:
    one, two = await api.key("client"), await api.key("client")
    mine = (await api.ok("POST", "/submit", {"code": "a"}, key=one))["job_id"]
    await api.ok("POST", "/submit", {"code": "b"}, key=two)
    jobs = (await api.ok("GET", "/jobs", key=one))["jobs"]
    assert [job["job_id"] for job in jobs] == [mine]
    assert len((await api.ok("GET", "/jobs", key=api.admin))["jobs"]) == 2
    narrowed = (await api.ok("GET", f"/jobs?owner={jobs[0]['owner']}", key=two))["jobs"]
    assert mine not in [job["job_id"] for job in narrowed]


async def test_a_deleted_job_is_gone_for_its_owner_and_unknown_to_others(api: Keyed) -> None:
    one, two = await api.key("client"), await api.key("client")
    job_id = (await api.ok("POST", "/submit", {"code": "a"}, key=one))["job_id"]
    await api.call("DELETE", f"/jobs/{job_id}", key=one)
    await api.pass_time(4000)
    assert (await api.call("GET", f"/status/{job_id}", key=one)).status_code == 410
    assert (await api.call("GET", f"/status/{job_id}", key=two)).status_code == 404


async def test_nodes_need_a_token_and_then_their_own_session(api: Keyed) -> None:
    node, other = await api.join(), await api.join()
    job_id = (await api.ok("POST", "/submit", {"code": "a"}, key=api.admin))["job_id"]
    beat = {"node_id": node.id, "session": node.session}
    assert (await api.client.post("/heartbeat", json=beat)).status_code == 401
    assert (await api.call("POST", "/heartbeat", beat, key=api.admin)).status_code == 401
    assert (await api.call("POST", "/heartbeat", beat, headers=node.headers)).status_code == 200
    # Another's name in the body, with one's own session in the headers and whichever in the body.
    for session in (None, other.session):
        stolen = {"node_id": node.id, **({"session": session} if session else {})}
        for path, more in (
            ("/heartbeat", {}),
            ("/claim", {}),
            ("/start", {"jobs": []}),
            ("/complete", {"job_id": job_id}),
            ("/complete/batch", {"completions": []}),
            ("/release", {"jobs": []}),
            ("/link", {}),
        ):
            response = await api.call("POST", path, {**stolen, **more}, headers=other.headers)
            assert response.status_code in (401, 409), (path, response.text)
    assert (await api.ok("GET", f"/status/{job_id}", key=api.admin))["status"] == "pending"
    (job,) = await node.claim()
    assert job["id"] == job_id


async def test_a_node_id_cannot_be_taken_over(api: Keyed) -> None:
    node = await api.join()
    body = {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}, "node_id": node.id}
    for secret in (None, "guess", "", "é"):
        said = {**body, **({"secret": secret} if secret else {})}
        response = await api.call("POST", "/register", said, key=api.token)
        assert (response.status_code, response.json()["reason"]) == (403, "wrong_secret")
    assert (await api.call("POST", "/register", {**body, "secret": node.secret})).status_code == 401
    assert (await api.call("POST", "/register", body, key=api.admin)).status_code == 403
    await node.beat()
    back = await api.ok("POST", "/register", {**body, "secret": node.secret}, key=api.token)
    assert back["node_id"] == node.id


async def test_revoking_a_token_lets_sessions_live_unless_told(api: Keyed) -> None:
    made = await api.ok("POST", "/keys", {"name": "pool", "role": "node"}, key=api.admin)
    await api.ok("POST", "/submit", {"code": "a"}, key=api.admin)
    node = await api.join(made["key"])
    (job,) = await node.claim()
    waiting = asyncio.ensure_future(node.claim(wait=20))
    answer = await api.ok("DELETE", f"/keys/{made['id']}", key=api.admin)
    assert answer["evicted_nodes"] == []
    await node.beat(job)
    body = {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}, "node_id": node.id, "secret": node.secret}
    assert (await api.call("POST", "/register", body, key=made["key"])).status_code == 401
    answer = await api.ok("DELETE", f"/keys/{made['id']}?evict=true", key=api.admin)
    assert answer["evicted_nodes"] == [node.id]
    async with asyncio.timeout(15):  # below its own wait
        assert await asyncio.gather(waiting, return_exceptions=True)
    assert (await node.complete(job)).status_code == 409
    assert (await api.ok("GET", f"/status/{job['id']}", key=api.admin))["status"] == "pending"


async def test_without_auth_no_key_can_be_made_over_http(started: Started) -> None:
    async with started() as api:
        for method, path, body in (("POST", "/keys", {"name": "door", "role": "admin"}), ("GET", "/keys", None)):
            response = await api.call(method, path, body)
            assert response.status_code == 409
            assert "broker-keys" in response.json()["error"]
        assert (await api.ok("GET", "/session")) == {"auth": False, "role": "admin", "name": None, "id": None}
        assert (await api.ok("GET", "/usage")) == {"metered": False, "owners": []}


@asynccontextmanager
async def logged_in(api: Keyed, key: str) -> AsyncIterator[dict[str, str]]:
    response = await api.call("POST", "/session", {"key": key})
    assert response.status_code == 200
    said = response.headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert key not in said
    api.client.cookies.clear()
    yield {"Cookie": said.partition(";")[0]}


async def test_a_login_is_good_for_the_dashboards_own_pages_only(api: Keyed) -> None:
    client = await api.key("client")
    async with logged_in(api, client) as cookie:
        assert (await api.ok("GET", "/session", headers=cookie))["role"] == "client"
        own = cookie | {"Sec-Fetch-Site": "same-origin"}
        job_id = (await api.ok("POST", "/submit", {"code": "x"}, headers=own))["job_id"]
        answer = await api.call("GET", f"/jobs/{job_id}/input", headers=cookie)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert "cache-control" not in (await api.call("GET", f"/jobs/{job_id}", key=client)).headers
        for foreign in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://broker.evil.example"},
            {},
        ):
            response = await api.call("POST", "/submit", {"code": "x"}, headers=cookie | foreign)
            assert (response.status_code, response.json()["reason"]) == (403, "cross_site"), foreign
        assert (await api.call("GET", "/jobs", headers=cookie | {"Sec-Fetch-Site": "same-site"})).status_code == 403
        assert (
            await api.call("POST", "/submit", {"code": "x"}, headers=cookie | {"Origin": "http://broker"})
        ).status_code == 200
        await api.ok("DELETE", "/session", headers=own)
        assert (await api.call("GET", "/jobs", headers=cookie)).status_code == 401
        assert (await api.ok("GET", "/session", headers=cookie))["role"] is None


async def test_a_login_ends_with_its_key_and_with_time(api: Keyed) -> None:
    made = await api.ok("POST", "/keys", {"name": "eve"}, key=api.admin)
    async with logged_in(api, made["key"]) as cookie, logged_in(api, api.admin) as admins:
        await api.ok("DELETE", f"/keys/{made['id']}", key=api.admin)
        assert (await api.call("GET", "/jobs", headers=cookie)).status_code == 401
        await api.pass_time(8 * 3600 + 1)
        assert (await api.call("GET", "/jobs", headers=admins)).status_code == 401
    assert (await api.call("POST", "/session", {"key": api.token})).status_code == 403


async def test_wrong_keys_are_slowed_and_right_ones_are_not(api: Keyed) -> None:
    statuses = [(await api.client.get("/jobs", headers={"Authorization": "Bearer x"})).status_code for _ in range(40)]
    assert statuses[0] == 401
    response = await api.client.get("/jobs", headers={"Authorization": "Bearer x"})
    assert (response.status_code, response.json()["limit"]) == (429, "failed_logins_per_minute")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert (await api.call("GET", "/jobs", key=api.admin)).status_code == 200
    assert (await api.call("POST", "/session", {"key": "x"})).status_code == 429


async def test_a_login_is_small(api: Keyed) -> None:
    answer = await api.call("POST", "/session", {"key": "x" * 5000})
    assert (answer.status_code, "4096" in answer.json()["error"]) == (413, True)


async def test_keys_from_files(started: Started, tmp_path: Path) -> None:
    admin, token = tmp_path / "admin_key", tmp_path / "join_token"
    admin.write_text("a" * 64 + "\n")
    token.write_text("b" * 64)
    async with started(auth="required", admin_key_file=admin, join_token_file=token) as api:
        headers = {"Authorization": "Bearer " + "a" * 64}
        keys = (await api.ok("GET", "/keys", headers=headers))["keys"]
        assert {key["id"] for key in keys} == {"file-admin", "file-join"}
        assert (await api.call("DELETE", "/keys/file-admin", headers=headers)).status_code == 409
        body = {"endpoint": "x", "capabilities": {}}
        assert (
            await api.call("POST", "/register", body, headers={"Authorization": "Bearer " + "b" * 64})
        ).status_code == 200
        assert (await api.call("POST", "/register", body, headers=headers)).status_code == 403
    token.write_text("short")
    with pytest.raises(StartError, match="BROKER_JOIN_TOKEN_FILE"):
        async with started(auth="required", join_token_file=token):
            pass


def test_an_open_broker_is_refused_unless_told_so_by_name() -> None:
    for settings in (
        {"host": "127.0.0.1"},
        {"host": "::1"},
        {"host": "0.0.0.0", "published": "127.0.0.1"},
        {"host": "0.0.0.0", "auth": "required"},
        {"host": "0.0.0.0", "allow_open": True},
    ):
        refuse_open(load_settings(**settings))
    wrong: tuple[dict[str, Any], ...] = (
        {"host": "0.0.0.0"},
        {"host": "10.0.0.1"},
        {"host": "broker.local"},
        {"published": "0.0.0.0"},
        {"host": "0.0.0.0", "published": ""},
    )
    for settings in wrong:
        with pytest.raises(StartError, match="BROKER_AUTH=required"):
            refuse_open(load_settings(**settings))


async def test_no_answer_and_no_log_holds_a_key(api: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    client = await api.key("client")
    await api.call("GET", "/jobs", key=client)
    await api.call("GET", "/nothing", key=client)
    await api.call("POST", "/session", {"key": client + "x"})
    listed = await api.call("GET", "/keys", key=api.admin)
    for key in (client, api.admin, api.token):
        assert key not in caplog.text
        assert key not in listed.text
        assert hash_of(key) not in json.dumps(listed.json())
