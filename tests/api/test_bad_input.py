"""Whatever is sent: a clear JSON error with the right status, never 500, and the next call is served at once."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.rig import Api, Started

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}

BAD_BODIES = {
    "nothing": (b"", 400),
    "half an object": (b'{"code":', 400),
    "no JSON": (b"code=print(1)", 400),
    "no UTF-8": (b'{"code":"\xff\xfe"}', 400),
    "UTF-16": ('{"code":"x"}'.encode("utf-16"), 400),
    "a list": (b'[{"code":"x"}]', 422),
    "a text": (b'"code"', 422),
    "a number": (b"7", 422),
    "null": (b"null", 422),
    "nested a hundred thousand deep": (b"[" * 100_000, 400),
    "objects nested deep": (b'{"a":' * 50_000, 400),
    "a number beyond all": (b'{"code":"x","priority":' + b"9" * 5000 + b"}", 400),
    "a lone surrogate": (b'{"code":"\\ud800"}', 400),
    "the other lone surrogate": (b'{"code":"\\udfff"}', 400),
    "a lone surrogate in a deep nest": (b'{"code":' + b"[" * 700 + b'"\\ud800"' + b"]" * 700 + b"}", 400),
    "a NUL in the code": (b'{"code":"a\\u0000b"}', 422),
    "NaN": (b'{"code":"x","timeout":NaN}', 422),
    "infinity": (b'{"code":"x","timeout":Infinity}', 422),
    "1e999": (b'{"code":"x","timeout":1e999}', 422),
}

BAD_FIELDS: list[tuple[str, Any]] = [
    ("code", None),
    ("code", ""),
    ("code", 5),
    ("code", ["a"]),
    ("code", {"a": 1}),
    ("interpreter", "rm"),
    ("interpreter", None),
    ("interpreter", ""),
    ("interpreter", "../sh"),
    ("interpreter", 3),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", 301),
    ("timeout", "60"),
    ("timeout", True),
    ("args", "a b"),
    ("args", [1]),
    ("args", ["a\x00b"]),
    ("args", ["a" * 131_072]),
    ("args", ["a" * 100_000] * 11),
    ("env", {"A": 1}),
    ("env", {"A=B": "x"}),
    ("env", {"": "x"}),
    ("env", {"A": "\x00"}),
    ("env", {"A": "x" * 131_000}),
    ("env", {f"A{n}": "x" * 100_000 for n in range(11)}),
    ("env", []),
    ("files", {"/etc/passwd": "x"}),
    ("files", {"../x": "x"}),
    ("files", {"": "x"}),
    ("files", {"a": {"base64": "%%"}}),
    ("files", {"a": 1}),
    ("files", {"a": "x", "a/b": "y"}),
    ("files", {"a": "x", "./a": "y"}),
    ("files", {"a\n": "x"}),
    ("files", {"a\\b": "x"}),
    ("files", {"a/" * 32 + "b": "x"}),
    ("files", {"a/" * 500_000 + "b": "x"}),
    ("files", {"a" * 300: "x"}),
    ("entrypoint", "/bin/sh"),
    ("stdin", 5),
    ("outputs", "*.csv"),
    ("outputs", ["x"] * 101),
    ("outputs", ["ü" * 200]),
    ("memory_mb", 15),
    ("memory_mb", 0),
    ("memory_mb", 1.5),
    ("memory_mb", 10**30),
    ("cpu_seconds", -1),
    ("priority", 10),
    ("priority", -1),
    ("priority", "5"),
    ("max_retries", -1),
    ("max_retries", 101),
    ("retry_on", ["signal"]),
    ("retry_on", "exit"),
    ("requires", {"gpus": 2}),
    ("requires", {"gpu": "yes"}),
    ("requires", {"labels": {"bad name!": "x"}}),
    ("prefer", {"near": {"latitude": 91, "longitude": 0}}),
    ("deadline", -1),
    ("deadline", "soon"),
    ("deadline", "2030-01-01T00:00:00"),
    ("not_before", 10**12),
    ("deadline", "9999-12-31T23:59:59-23:59"),
    ("not_before", "9999-12-31T00:00:00+00:00"),
    ("not_before", "0001-01-01T00:00:00+14:00"),
    ("cache", 1),
    ("labels", {"a": 1}),
    ("labels", {"a": "x" * 300}),
    ("submitter", ""),
    ("submitter", "\x00"),
    ("verify", {"replicas": 1}),
    ("callback_url", "ftp://example.com"),
    ("colour", "red"),
]


async def alive(api: Api) -> None:
    """The next call is served."""
    await api.submit("print('still here')")


@pytest.mark.parametrize("name", sorted(BAD_BODIES))
async def test_a_body_that_is_no_job(api: Api, name: str) -> None:
    content, status = BAD_BODIES[name]
    for path in ("/submit", "/submit/batch", "/results/batch"):
        response = await api.client.post(path, content=content, headers=JSON)
        assert response.status_code in (status, 422), response.text
        assert response.json()["error"]
    assert (await api.client.post("/submit", content=content, headers=JSON)).status_code == status
    await alive(api)


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
async def test_a_field_that_cannot_be(api: Api, field: str, value: Any) -> None:
    response = await api.call("POST", "/submit", {"code": "x"} | {field: value})
    assert response.status_code == 422, response.text
    answer = response.json()
    assert field in answer["error"]
    assert field in answer["detail"][0]["loc"] or answer["detail"][0]["loc"] == ["body"]
    assert (await api.ok("GET", "/health"))["jobs"] == 0
    await alive(api)


async def test_an_entrypoint_needs_its_file(api: Api) -> None:
    refused = await api.call("POST", "/submit", {"files": {"a.py": "x"}, "entrypoint": "b.py"})
    assert refused.status_code == 422
    await api.ok("POST", "/submit", {"files": {"a.py": "x"}, "entrypoint": "a.py"})
    both = await api.call("POST", "/submit", {"code": "1", "files": {"a.py": "x"}, "entrypoint": "./a.py"})
    assert (both.status_code, "give one of them" in both.json()["error"]) == (422, True)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_is_not_declared_as_json(api: Api, kind: str) -> None:
    response = await api.client.post("/submit", content=b'{"code":"x"}', headers={"content-type": kind})
    assert (response.status_code, "application/json" in response.json()["error"]) == (415, True)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_under_its_other_names(api: Api, kind: str) -> None:
    response = await api.client.post("/submit", content=b'{"code":"x"}', headers={"content-type": kind})
    assert response.status_code == 200


async def test_a_body_that_is_too_large(started: Started) -> None:
    async with started(max_body_bytes=10_000, max_node_body_bytes=70_000) as api:
        declared = await api.call("POST", "/submit", {"code": "x" * 20_000})
        assert (declared.status_code, declared.json()) == (413, {"error": "The body is larger than 10000 bytes."})

        async def pieces() -> AsyncIterator[bytes]:  # sent without Content-Length
            yield b'{"code":"'
            for _ in range(1000):
                yield b"x" * 1000

        streamed = await api.client.post("/submit", content=pieces(), headers=JSON)
        assert streamed.status_code == 413
        node = await api.node()
        await api.submit()
        (job,) = await node.claim()
        assert (await node.complete(job, output="x" * 80_000)).status_code == 413
        assert (await node.complete(job, output="x" * 60_000)).status_code == 200
        await alive(api)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/status/x", 405),
        ("GET", "/submit", 405),
        ("PUT", "/jobs/x", 405),
        ("GET", "/status/", 404),
        ("GET", "/status/a/b", 404),
        ("GET", "/status/%00", 404),
        ("GET", "/status/" + "x" * 5000, 404),
        ("GET", "/results/..%2f..%2fetc", 404),
        ("DELETE", "/jobs/'; DROP TABLE jobs", 404),
        ("GET", "/status/%ff%fe", 404),
        ("GET", "/status/x?wait=61", 422),
        ("GET", "/status/x?wait=-1", 422),
        ("GET", "/status/x?wait=soon", 422),
        ("GET", "/status/x?wait=nan", 422),
        ("GET", "/jobs?limit=0", 422),
        ("GET", "/jobs?cursor=" + "9" * 40, 422),
        ("POST", "/nodes/x/drain", 404),
        ("POST", "/nodes/x/explode", 404),
    ],
)
async def test_paths_and_queries(api: Api, method: str, path: str, status: int) -> None:
    response = await api.call(method, path)
    assert response.status_code == status, response.text
    assert isinstance(response.json()["error"], str)
    await alive(api)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/jobs/x", "DELETE, GET"), ("/submit", "POST"), ("/nodes/x/drain", "POST"), ("/jobs", "DELETE, GET")],
)
async def test_a_wrong_method_is_told_the_right_ones(api: Api, path: str, allowed: str) -> None:
    response = await api.call("PATCH", path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/register", {}),
        ("/register", {"endpoint": 5, "capabilities": {}}),
        ("/register", {"endpoint": "x", "capabilities": []}),
        ("/register", {"endpoint": "x", "capabilities": {"interpreters": "python3"}}),
        ("/register", {"endpoint": "x", "capabilities": {"cpu_cores": "many"}}),
        ("/register", {"endpoint": "x", "capabilities": {"note": "x" * 100_000}}),
        ("/register", {"endpoint": "x", "capabilities": {}, "slots": 0}),
        ("/heartbeat", {"node_id": ["a"]}),
        ("/heartbeat", {"node_id": "a", "held": [1]}),
        ("/heartbeat", {"node_id": "a", "held": "x"}),
        ("/claim", {"node_id": None}),
        ("/claim", {"node_id": "a", "wait": 1000}),
        ("/claim", {"node_id": "a", "max_jobs": 0}),
        ("/complete", {"node_id": "a"}),
        ("/complete", {"node_id": "a", "job_id": "b", "output": {}}),
        ("/complete", {"node_id": "a", "job_id": "b", "exit_code": "x"}),
        ("/complete", {"node_id": "a", "job_id": "b", "exit_code": 10**30}),
        ("/complete", {"node_id": "a", "job_id": "b", "failure": "bored"}),
        ("/complete", {"node_id": "a", "job_id": "b", "fence": 10**20}),
        ("/release", {"node_id": "a", "jobs": [{"job_id": "b"}]}),
        ("/start", {"node_id": "a"}),
    ],
)
async def test_nodes_that_say_nonsense(api: Api, path: str, body: Any) -> None:
    response = await api.call("POST", path, body)
    assert response.status_code == 422, response.text
    assert response.json()["error"]
    await alive(api)


async def test_output_of_a_program_that_knows_no_unicode_is_mended(api: Api) -> None:
    node = await api.node()
    job_id = await api.submit()
    (job,) = await node.claim()
    said = {
        **node.who,
        "job_id": job_id,
        "fence": job["fence"],
        "output": "a\udc80b\x00c",
        "error": "\ud83d",
        "exit_code": 0,
    }
    response = await api.client.post("/complete", content=json.dumps(said).encode(), headers=JSON)
    assert response.status_code == 200
    results = await api.ok("GET", f"/results/{job_id}")
    assert (results["output"], results["error"]) == ("a\ufffdb\x00c", "\ufffd")


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_an_idempotency_key_has_a_length(api: Api, key: str) -> None:
    response = await api.call("POST", "/submit", {"code": "x"}, headers={"Idempotency-Key": key})
    assert response.status_code == 422


async def test_too_large_a_batch(started: Started) -> None:
    async with started(max_batch=3) as api:
        response = await api.call("POST", "/submit/batch", {"jobs": [{"code": "x"}] * 4})
        assert (response.status_code, "at most 3" in response.json()["error"]) == (422, True)
        assert (await api.call("POST", "/results/batch", {"job_ids": ["x"] * 4})).status_code == 422


async def test_too_many_kinds_of_jobs(started: Started) -> None:
    async with started(max_classes=3) as api:
        for number in range(3):
            await api.submit(requires={"region": f"r{number}"})
        response = await api.call("POST", "/submit", {"code": "x", "requires": {"region": "r4"}})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        await api.submit(requires={"region": "r1"})
        await api.submit("a plain job", memory_mb=128)


WORDS = st.sampled_from(
    ["code", "timeout", "files", "env", "node_id", "job_id", "jobs", "capabilities", "endpoint", "held"]
)


def _containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    lists: st.SearchStrategy[object] = st.lists(inner, max_size=4)
    return lists | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4)


SCALARS: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20)
)
ANYTHING = st.recursive(SCALARS, _containers, max_leaves=12)
PATHS = [
    "/submit",
    "/submit/batch",
    "/results/batch",
    "/register",
    "/heartbeat",
    "/claim",
    "/start",
    "/complete",
    "/complete/batch",
    "/release",
    "/link",
]


@given(path=st.sampled_from(PATHS), body=ANYTHING)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_anything_at_all(api: Api, path: str, body: Any) -> None:
    response = await api.client.post(path, content=json.dumps(body).encode(), headers=JSON)
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.json()["error"]
