"""A web page in the operator's browser cannot use a broker that asks for no keys: not from its own origin, and not by a
name that it has pointed to the broker."""

import pytest

from api.rig import Api, Started

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "broker.",
        "[::1].x",
        "1.2",
    ],
)
async def test_a_strange_name_is_refused(api: Api, host: str) -> None:
    answer = await api.call("GET", "/jobs", headers={"Host": host})
    assert (answer.status_code, "BROKER_ALLOWED_HOSTS" in answer.json()["error"]) == (421, True)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost:18000",
        "broker:8000",
        "[::1]:8000",
        "10.1.2.3",
        "a.localhost",
        "pool.lan",
        "LOCALHOST",
    ],
)
async def test_addresses_and_names_of_ones_own_are_served(api: Api, host: str) -> None:
    assert (await api.call("GET", "/jobs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "settings", [{"allowed_hosts": "a.example, b.example"}, {"allowed_hosts": "*"}, {"allow_open": True}]
)
async def test_names_can_be_allowed(started: Started, settings: dict[str, object]) -> None:
    async with started(**settings) as api:
        assert (await api.call("GET", "/jobs", headers={"Host": "b.example:8000"})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9999", "file://", "http://broker.evil"]
)
async def test_a_page_of_another_origin_changes_nothing(api: Api, origin: str) -> None:
    for method, path in (("POST", "/submit"), ("DELETE", "/jobs/x"), ("POST", "/nodes/x/drain"), ("PUT", "/nowhere")):
        answer = await api.call(method, path, {"code": "x"}, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site")
    assert (await api.ok("GET", "/health"))["jobs"] == 0


async def test_the_dashboards_own_calls_are_served(api: Api) -> None:
    answer = await api.call("POST", "/submit", {"code": "x"}, headers={"Host": "h:8", "Origin": "http://h:8"})
    assert answer.status_code == 200
