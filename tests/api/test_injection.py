"""Text that means something elsewhere (SQL, paths, headers, templates, markup) is only text here: it comes back as it
was sent, finds nothing but itself, and changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from api.rig import Api

pytestmark = pytest.mark.anyio

TEXTS = [
    "'; DROP TABLE job_states; --",
    "' OR '1'='1",
    '" OR 1=1 --',
    "x') UNION SELECT secret_hash FROM nodes --",
    "%",
    "_",
    "a*[b]?",
    "$.x",
    "../../etc/passwd",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "{0.__class__}%s%n%x",
    "<script>alert(1)</script>",
    "a\r\nSet-Cookie: x=1\r\n\r\n<html>",
    "=HYPERLINK(1)",
    "\u202e\u0000".replace("\x00", "") + "evil",
    "$(reboot)`reboot`|reboot",
]


async def test_text_is_text(api: Api, tmp_path: Path) -> None:
    plain = await api.submit(labels={"a": "plain"}, submitter="plain")
    for text in TEXTS:
        job_id = await api.submit(code=text, labels={"a": text}, submitter=text, args=[text], stdin=text)
        shown = await api.status(job_id)
        assert (shown["labels"], shown["submitter"]) == ({"a": text}, text)
        for query in (f"submitter={quote(text)}", f"label={quote(f'a={text}')}"):
            found = (await api.ok("GET", f"/jobs?{query}"))["jobs"]
            assert [job["job_id"] for job in found] == [job_id], "itself, and no other"
        for path in ("/status/", "/results/", "/jobs/"):
            answer = await api.call("GET", path + quote(text, safe=""))
            assert answer.status_code == 404, (path, text)
            assert "set-cookie" not in answer.headers
            assert answer.headers["content-type"] == "application/json"
        key = text.encode("ascii", "ignore").replace(b"\r\n", b"")
        replayed = await api.call("POST", "/submit", {"code": "x"}, headers={b"Idempotency-Key": key})
        assert replayed.status_code == 200
        assert "replayed" not in replayed.json(), "its own key, and no other's"
    await api.status(plain)
    with closing(sqlite3.connect(tmp_path / "broker.db")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"job_states", "nodes"} <= tables
        assert database.execute("SELECT count(*) FROM job_states").fetchone() == (1 + 2 * len(TEXTS),)


async def test_what_a_node_says_is_text(api: Api) -> None:
    for text in TEXTS:
        node = await api.node(name=text, endpoint=text, version=text, capabilities={"note": text})
        job_id = await api.submit()
        (job,) = await node.claim()
        said = await node.complete(job, output=text, error=text, failure="platform", exit_code=None, message=text)
        assert said.status_code == 200
        shown = next(each for each in (await api.ok("GET", "/nodes"))["nodes"] if each["id"] == node.id)
        assert (shown["name"], shown["endpoint"], shown["capabilities"]["note"]) == (text, text, text)
        attempts = (await api.ok("GET", f"/jobs/{job_id}"))["attempts"]
        assert attempts[0]["message"] == text
        await api.ok("DELETE", f"/jobs/{job_id}")
