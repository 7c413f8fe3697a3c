"""The HTTP API over real sockets: what is wrong is said, what never ends is ended."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandrun.api import protocol, uploads
from unit.sandrun.builders import SETTINGS
from unit.sandrun.http_node import SECONDS, Node, a_node


class TestBadRequests:
    @pytest.mark.parametrize(
        ("files", "manifest", "says"),
        [
            ([("files", ("main.py", b"x"))], "{", "not valid JSON"),
            ([("files", ("main.py", b"x"))], "[]", "must be a JSON object"),
            ([("files", ("main.py", b"x"))], {"timeout": 10**6}, "at most 3600"),
            ([("files", ("main.py", b"x"))], {"interpreter": "cobol"}, "not on this node"),
            ([("files", ("main.py", b"x"))], {"entrypoint": "nope.py"}, "no file 'nope.py'"),
            ([("files", ("../main.py", b"x"))], {}, "must not leave"),
            ([("files", ("a.zip", b"rubbish"))], {}, "not a zip file"),
            ([("files", ("a", b"1")), ("files", ("a", b"2"))], {}, "twice"),
            ([("other", ("main.py", b"x"))], {}, "no files uploaded"),
            ([("files", ("main.py", b"x")), ("manifest", ("a", b"{}"))], {}, "not several"),
            ([("files", ("main.py", b"x")), ("manifest", ("a", b"\xff"))], None, "not valid UTF-8"),
        ],
    )
    def test_what_is_wrong_is_said(self, node: Node, files: list[Any], manifest: Any, says: str) -> None:
        answer = node.post(files, manifest)
        assert answer.status_code == 400
        assert says in answer.json()["error"]
        its_own_fault = says in ("no file 'nope.py'", "must not leave", "not a zip file", "twice")
        assert (answer.json().get("reason") == "bad_upload") is its_own_fault

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"{}", "application/json"),
            (b"", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary="),
            (b"--b\r\n\r\n", "multipart/form-data; boundary=b"),
            (b"garbage", "multipart/form-data; boundary=b"),
            (
                b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--b--\r\n',
                "multipart/form-data; boundary=b",
            ),
            (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
            (b"", ""),
        ],
    )
    def test_bodies_that_are_no_submission(self, node: Node, body: bytes, kind: str) -> None:
        answer = node.client.post("/submit", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_too_large_by_its_own_word_or_in_truth(self, tmp_path: Path) -> None:
        with a_node(tmp_path, settings=replace(SETTINGS, upload_bytes=1000)) as node:
            assert node.post([("files", ("main.py", bytes(2000)))]).status_code == 413

            def endless() -> Iterator[bytes]:
                yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
                for _ in range(10):
                    yield bytes(500)

            answer = node.client.post(
                "/submit", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            assert answer.status_code == 413
            assert "at most 1000 bytes" in answer.json()["error"]
            assert node.client.get("/health").status_code == 200

    def test_uploads_that_never_end(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads, "UPLOAD_SECONDS", 0.2)
        head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        with socket.create_connection(("127.0.0.1", node.client.base_url.port or 0), timeout=SECONDS) as stalling:
            stalling.sendall(head + b"Content-Length: 1000\r\n\r\n" + part)
            assert stalling.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert node.client.get("/health").status_code == 200

    def test_headers_that_never_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "HEADERS_SECONDS", 0.2)
        with a_node(tmp_path) as node:
            address = ("127.0.0.1", node.client.base_url.port or 0)
            for sent in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP"):
                with socket.create_connection(address, timeout=SECONDS) as slow:
                    slow.sendall(sent)
                    while slow.recv(4096):
                        pass  # until the service closes

    def test_unknown_jobs_calls_and_methods(self, node: Node) -> None:
        for path in ("/status/x", "/logs/x", "/outputs/x", "/download/x", "/download/x/y"):
            answer = node.client.get(path)
            assert (answer.status_code, answer.json()) == (404, {"error": "Job not found"})
        assert node.client.get("/nowhere").json() == {"error": "Not Found"}
        assert node.client.get("/submit").status_code == 405
        assert "error" in node.client.get("/submit").json()

    @pytest.mark.parametrize(
        "query", [{"wait": "x"}, {"wait": -1}, {"wait": 1e9}, {"wait": "nan"}, {"logs": "perhaps"}]
    )
    def test_wrong_queries(self, node: Node, query: dict[str, Any]) -> None:
        answer = node.client.get(f"/status/{node.submit()}", params=query)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(next(iter(query)))
        assert answer.json()["detail"]

    def test_rate_limits(self, tmp_path: Path) -> None:
        settings = replace(SETTINGS, rate_jobs_per_hour=1, rate_loopback=True)
        with a_node(tmp_path, settings=settings) as node:
            node.submit()
            answer = node.post([("files", ("main.py", b"x"))])
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) > 3000
            assert set(answer.json()) == {"error", "cpu_available", "active_jobs"}
            assert node.client.get("/stats").json()["your_quota"]["can_submit"] is False

    def test_a_job_that_is_refused_takes_no_place(self, tmp_path: Path) -> None:
        with a_node(tmp_path, settings=replace(SETTINGS, rate_jobs_per_hour=1, rate_loopback=True)) as node:
            assert node.post([("files", ("main.py", b"x"))], {"timeout": -1}).status_code == 400
            node.submit()
