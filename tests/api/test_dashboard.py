"""The dashboard's files: types, policy, caching; and that a program still gets JSON at /."""

import gzip

import pytest

from api.rig import Api
from broker.api.dashboard import FOLDER, TYPES

pytestmark = pytest.mark.anyio

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in TYPES)


async def test_a_browser_gets_the_page_and_a_program_gets_json(api: Api) -> None:
    page = await api.call("GET", "/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.lower().startswith("<!doctype html>")
    said = await api.call("GET", "/", headers={"Accept": "*/*"})
    assert said.headers["content-type"] == "application/json"
    assert said.json()["version"]
    assert "Accept" in said.headers["vary"]


@pytest.mark.parametrize("name", NAMES)
async def test_every_file_has_its_type_and_the_policy(api: Api, name: str) -> None:
    got = await api.call("GET", f"/dashboard/{name}", headers={"Accept-Encoding": "identity"})
    assert got.status_code == 200
    assert got.headers["content-type"] == TYPES[f".{name.rpartition('.')[2]}"]
    policy = got.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.content == (FOLDER / name).read_bytes()
    head = await api.call("HEAD", f"/dashboard/{name}", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))


async def test_a_browser_that_has_it_is_told_so(api: Api) -> None:
    got = await api.call("GET", "/", headers=BROWSER)
    same = await api.call("GET", "/", headers={**BROWSER, "If-None-Match": f'"other", W/{got.headers["etag"]}'})
    assert (same.status_code, same.content) == (304, b"")
    other = await api.call("GET", "/", headers={**BROWSER, "If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_it_comes_packed_to_who_takes_that(api: Api) -> None:
    async with api.client.stream("GET", "/", headers={**BROWSER, "Accept-Encoding": "gzip"}) as got:
        packed = b"".join([part async for part in got.aiter_raw()])
    assert got.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == (FOLDER / "index.html").read_bytes()


async def test_there_is_nothing_else(api: Api) -> None:
    for path in ("/dashboard/nothing.js", "/dashboard/..%2Fmain.py", "/dashboard/__init__.py"):
        missing = await api.call("GET", path)
        assert (missing.status_code, list(missing.json())) == (404, ["error"]), path
    assert (await api.call("POST", "/", {})).status_code == 405
