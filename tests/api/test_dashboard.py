"""The dashboard's files: types, policy, caching; and that a program still gets JSON at /."""

import gzip
import re

import pytest

from api.rig import Api
from broker.api.dashboard import BUILD, BUILD_MARK, FOLDER, TYPES

pytestmark = pytest.mark.anyio

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
MOST_BYTES = 500_000


async def test_a_browser_gets_the_page_and_a_program_gets_json(api: Api) -> None:
    page = await api.call("GET", "/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.lower().startswith("<!doctype html>")
    said = await api.call("GET", "/", headers={"Accept": "*/*"})
    assert said.headers["content-type"] == "application/json"
    assert said.json()["version"]
    assert "Accept" in said.headers["vary"]


async def test_every_file_has_its_type_and_the_policy(api: Api) -> None:
    for name in NAMES:
        await check_file(api, name)


async def check_file(api: Api, name: str) -> None:
    address = f"/dashboard/{BUILD}/{name}"
    got = await api.call("GET", address, headers={"Accept-Encoding": "identity"})
    assert got.status_code == 200
    assert got.headers["content-type"] == TYPES[f".{name.rpartition('.')[2]}"]
    policy = got.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in got.headers["cache-control"]
    assert got.content == (FOLDER / name).read_bytes().replace(BUILD_MARK, BUILD.encode())
    head = await api.call("HEAD", address, headers={"Accept-Encoding": "identity"})
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
    assert gzip.decompress(packed) == (FOLDER / "index.html").read_bytes().replace(BUILD_MARK, BUILD.encode())


async def test_the_front_page_is_asked_for_again_and_names_this_build(api: Api) -> None:
    page = await api.call("GET", "/", headers=BROWSER)
    assert page.headers["cache-control"] == "no-cache"
    addresses = re.findall(r'(?:href|src)="/dashboard/([^"]+)"', page.text)
    assert addresses
    for address in addresses:
        build, _, name = address.partition("/")
        assert (build, name in NAMES) == (BUILD, True), address


def test_nothing_comes_from_elsewhere_and_all_of_it_is_small() -> None:
    """No address of another host in what we wrote; every import names a file that is there."""
    size = 0
    for name in NAMES:
        content = (FOLDER / name).read_bytes()
        size += len(content) if name.endswith(".woff2") else len(gzip.compress(content))
        if name.startswith("vendor/"):
            continue
        text = content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)\w", text), name
        for wanted in re.findall(r'(?:from|import\()\s*"(\.[^"]+)"', text):
            path = ((FOLDER / name).parent / wanted).resolve()
            assert path.is_file(), f"{name} imports {wanted}"
    assert size < MOST_BYTES


async def test_there_is_nothing_else(api: Api) -> None:
    inside = f"/dashboard/{BUILD}"
    names = ("nothing.js", "..%2Fmain.py", "../main.py", "lib/../../main.py", "__init__.py", "lib", "lib/", "")
    for path in ("/dashboard/app.js", "/dashboard/0123456789abcdef/app.js", *(f"{inside}/{name}" for name in names)):
        missing = await api.call("GET", path)
        assert (missing.status_code, list(missing.json())) == (404, ["error"]), path
    assert (await api.call("POST", "/", {})).status_code == 405
