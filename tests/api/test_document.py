"""The OpenAPI document says what the code does: every call is in it, and every answer is of its declared form."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from api.keyed import keyed
from api.rig import Api, Started
from broker.api import (
    answers,
    files,
    health,
    info,
    job_input,
    jobs,
    keys,
    logs,
    metrics,
    node_page,
    nodes,
    overview,
    session,
    transfers,
    usage,
    webhooks,
)
from broker.api.lean import LeanRoute

pytestmark = pytest.mark.anyio

ROUTES = [
    route
    for module in (
        jobs,
        job_input,
        logs,
        files,
        nodes,
        node_page,
        transfers,
        info,
        overview,
        keys,
        session,
        usage,
        webhooks,
        health,
        metrics,
    )
    for route in module.router.routes
    if isinstance(route, LeanRoute)
]

KEYED = {
    (method, route.path)
    for module in (keys, session, usage)
    for route in module.router.routes
    if isinstance(route, LeanRoute)
    for method in route.methods or ()
}
"""Tested with a broker that asks for keys."""


NOT_JSON = {
    ("POST", "/link"), ("GET", "/events"), ("GET", "/metrics"), ("GET", "/inputs/{job_id}/{sha256}"),
    ("PUT", "/artifacts/{job_id}/{sha256}"),
    ("POST", "/artifacts/{job_id}/missing"), ("GET", "/download/{job_id}"), ("HEAD", "/download/{job_id}"),
    ("GET", "/download/{job_id}/{path}"), ("HEAD", "/download/{job_id}/{path}"),
}  # fmt: skip
"""Streams, and calls that need bytes or headers of their own: test_files.py and test_downloads.py look at them."""


def declared(method: str, path: str, status: int = 200) -> TypeAdapter[Any]:
    """The form that the document names for an answer."""
    (route,) = [route for route in ROUTES if route.path == path and method in (route.methods or ())]
    form: Any = route.response_model if status == 200 else route.responses[status]["model"]
    return TypeAdapter(form)


async def test_every_call_is_documented(api: Api) -> None:
    document = await api.ok("GET", "/openapi.json")
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented == {(method, route.path) for route in ROUTES for method in route.methods or ()}
    body = document["components"]["schemas"]["SubmitJob"]["properties"]
    assert {"code", "interpreter", "timeout", "files", "requires", "not_before", "cache"} <= body.keys()
    wait = document["paths"]["/status/{job_id}"]["get"]["parameters"]
    assert {parameter["name"] for parameter in wait} == {"job_id", "wait"}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            refused = call["responses"].get("422")
            form = refused["content"]["application/json"]["schema"] if refused else None
            assert form in (None, {"$ref": "#/components/schemas/ErrorAnswer"}), (method, path)


async def test_answers_have_their_declared_form(api: Api) -> None:
    seen: set[tuple[str, str]] = set()

    async def check(method: str, path: str, body: Any = None, *, form: str | None = None, status: int = 200) -> Any:
        response = await api.call(method, path, body)
        assert response.status_code == status, response.text
        declared(method, form or path, status).validate_python(response.json(), strict=False)
        seen.add((method, form or path))
        return response.json()

    capabilities = {"interpreters": ["python3"]}
    node = await check("POST", "/register", {"endpoint": "x", "capabilities": capabilities, "slots": 9})
    who = {"node_id": node["node_id"], "session": node["session"]}
    job_id = (await check("POST", "/submit", {"code": "x", "labels": {"a": "b"}, "args": ["1"]}))["job_id"]
    await check("POST", "/submit/batch", {"jobs": [{"code": "y"}]})
    await check("GET", f"/results/{job_id}", form="/results/{job_id}", status=202)
    (job, *_) = (await check("POST", "/claim", {**who, "claim_number": 1, "max_jobs": 2}))["jobs"]
    ref = {"job_id": job_id, "fence": job["fence"]}
    await check("POST", "/start", {**who, "jobs": [ref, {"job_id": "nobody", "fence": 1}]})
    await check("POST", "/heartbeat", {**who, "held": [ref, {"job_id": "nobody", "fence": 1}], "claims_done": 0})
    await check("GET", f"/status/{job_id}", form="/status/{job_id}")
    chunk = {**ref, "stream": "stdout", "offset": 0, "data_base64": "eA=="}
    await check("POST", "/progress", {**who, "chunks": [chunk]})
    await check("GET", f"/logs/{job_id}", form="/logs/{job_id}")
    usage = {"wall_seconds": 1.0, "cpu_seconds": 0.5, "memory_peak_bytes": 100}
    await check("POST", "/complete", {**who, **ref, "output": "o", "error": "e", "exit_code": 3, "usage": usage})
    await check("POST", "/complete/batch", {**who, "completions": [{**ref, "exit_code": 0}]})
    await check("POST", "/release", {**who, "jobs": [ref]})
    await check("GET", f"/results/{job_id}", form="/results/{job_id}")
    await check("POST", "/results/batch", {"job_ids": [job_id, "nobody"]})
    await check("GET", f"/jobs/{job_id}", form="/jobs/{job_id}")
    await check("DELETE", f"/jobs/{job_id}", form="/jobs/{job_id}")
    await check("GET", f"/jobs/{job_id}/webhooks", form="/jobs/{job_id}/webhooks")
    await check("POST", f"/jobs/{job_id}/webhooks/redeliver", form="/jobs/{job_id}/webhooks/redeliver")
    await check("DELETE", "/jobs?label=a=none", form="/jobs")
    await check("GET", f"/jobs/{job_id}/input", form="/jobs/{job_id}/input")
    await check("GET", f"/outputs/{job_id}", form="/outputs/{job_id}")
    for path in ("/jobs", "/nodes", "/overview", "/health", "/ready", "/stats", "/environments"):
        await check("GET", path)
    for verb in ("drain", "resume"):
        await check("POST", f"/nodes/{node['node_id']}/{verb}", form=f"/nodes/{{node_id}}/{verb}")
    await check("GET", f"/nodes/{node['node_id']}", form="/nodes/{node_id}")
    await check("GET", "/status/nobody", form="/status/{job_id}", status=404)
    await check("POST", "/submit", {"code": 1}, status=422)
    every = {(method, route.path) for route in ROUTES for method in route.methods or ()}
    assert seen == every - KEYED - NOT_JSON


async def test_jobs_in_sandruns_words_have_their_declared_form(api: Api) -> None:
    node = await api.ok("POST", "/register", {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}})
    who = {"node_id": node["node_id"], "session": node["session"]}
    sent = await api.client.post("/submit", files={"files": ("main.py", b"1")})
    job_id, form = sent.json()["job_id"], declared("GET", "/status/{job_id}")
    for status, call, body in (
        ("queued", "/claim", {**who, "claim_number": 1}),
        ("queued", "/complete", {**who, "job_id": job_id, "output": "", "error": "", "exit_code": 1}),
        ("failed", None, None),
    ):
        answer = await api.ok("GET", f"/status/{job_id}")
        assert isinstance(form.validate_python(answer), answers.SandrunJobAnswer)
        assert answer["status"] == status
        if call is not None:
            await api.ok("POST", call, body)


async def test_answers_about_keys_have_their_declared_form(started: Started) -> None:
    seen: set[tuple[str, str]] = set()
    async with keyed(started) as api:

        async def check(method: str, path: str, body: Any = None, *, form: str | None = None) -> Any:
            answer = await api.ok(method, path, body, key=api.admin)
            declared(method, form or path).validate_python(answer, strict=False)
            seen.add((method, form or path))
            return answer

        made = await check("POST", "/keys", {"name": "one", "limits": {"jobs_pending": 5}})
        await check("GET", "/keys")
        await check("GET", f"/keys/{made['id']}", form="/keys/{key_id}")
        await check("POST", f"/keys/{made['id']}/rotate", {}, form="/keys/{key_id}/rotate")
        await check("POST", f"/keys/{made['id']}/limits", {"stored_bytes": 0}, form="/keys/{key_id}/limits")
        await check("DELETE", f"/keys/{made['id']}", form="/keys/{key_id}")
        await api.ok("POST", "/submit", {"code": "x"}, key=api.admin)
        await check("GET", "/usage")
        assert (await check("GET", "/usage/export?from=2000-01-01&to=2000-12-31", form="/usage/export"))["rows"] == []
        for method, body in (("GET", None), ("POST", {"key": api.admin}), ("DELETE", None)):
            await check(method, "/session", body)
    assert seen == KEYED


def test_every_model_is_used() -> None:
    models = [model for route in ROUTES if (model := route.response_model) is not None]
    used = {each.__name__ for model in models for each in get_args(model) or (model,)}
    used |= {spec["model"].__name__ for route in ROUTES for spec in route.responses.values() if "model" in spec}
    assert used == {name for name in answers.__all__ if name.endswith("Answer")}
