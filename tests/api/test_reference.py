"""The reference at /docs: every call is on it, nothing of it comes from elsewhere, and nothing in it can run."""

import re
from html.parser import HTMLParser

import pytest

from api.rig import Api

pytestmark = pytest.mark.anyio


class Page(HTMLParser):
    """Which tags and links a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {value for name, value in attrs if name in ("src", "href", "action") and value}


async def test_the_reference_is_whole_and_runs_nothing(api: Api) -> None:
    answer = await api.call("GET", "/docs")
    page = Page(answer.text)
    assert answer.headers["content-type"].startswith("text/html")
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "link", "form"}
    assert page.links == {"/openapi.json"}
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    document = await api.ok("GET", "/openapi.json")
    for path, calls in document["paths"].items():
        for method in calls:
            assert f"<b>{method.upper()} {path}</b>" in answer.text
    assert re.search(r"<code>interpreter</code></td><td>string</td>", answer.text)
    head = await api.call("HEAD", "/docs")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))
    for gone in ("/redoc", "/docs/oauth2-redirect"):
        assert (await api.call("GET", gone)).status_code == 404
