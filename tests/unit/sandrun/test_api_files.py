"""The HTTP API over real sockets: what a job left, one by one and as an archive."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from starlette.requests import ClientDisconnect

from sandrun.api.downloads import Download
from support.waiting import wait_until
from unit.sandrun.builders import FakeLauncher, FakeSandbox
from unit.sandrun.http_node import Node, a_node, held


class TestFiles:
    @pytest.fixture
    def node(self, tmp_path: Path) -> Iterator[Node]:
        def leaving(code: bytes) -> FakeSandbox:
            return FakeSandbox(
                leaves={"result.html": b"<script>alert(1)</script>", "a b.csv": b"1,2\n", "skip.bin": b"x"}
            )

        with a_node(tmp_path, FakeLauncher(leaving)) as running:
            yield running

    def test_what_was_left_is_listed(self, node: Node) -> None:
        job_id = node.submit(outputs=["*.html", "*.csv"])
        shown = node.ended(job_id)
        assert sorted(shown["output_files"]) == ["a b.csv", "result.html"]
        assert shown["output_files"]["a b.csv"]["size_bytes"] == 4
        listed = node.client.get(f"/outputs/{job_id}").json()
        assert (listed["status"], listed["total_files"]) == ("completed", 2)
        assert listed["files"][0] == {
            "name": "a b.csv",
            "size": 4,
            "size_formatted": "4 B",
            "type": "text",
            "mime_type": "text/csv",
            "sha256": shown["output_files"]["a b.csv"]["sha256"],
            "download_url": f"/download/{job_id}/a%20b.csv",
        }
        assert node.client.get(listed["files"][0]["download_url"]).content == b"1,2\n"

    def test_by_default_everything_that_is_new(self, node: Node) -> None:
        assert sorted(node.ended(node.submit())["output_files"]) == ["a b.csv", "result.html", "skip.bin"]

    def test_a_page_is_not_run_in_our_name(self, node: Node) -> None:
        job_id = node.submit()
        node.ended(job_id)
        answer = node.client.get(f"/download/{job_id}/result.html")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith("attachment")

    def test_paths_that_leave_and_paths_that_are_not_there(self, node: Node) -> None:
        job_id = node.submit()
        node.ended(job_id)
        for path in ("%2e%2e%2fetc%2fpasswd", "a%2f..%2f..%2fx", "%2fetc%2fpasswd", "..%5cx", "x%00y"):
            assert node.client.get(f"/download/{job_id}/{path}").status_code == 403
        assert node.client.get(f"/download/{job_id}/main.py").status_code == 404

    def test_everything_in_one_archive_then_it_is_gone(self, node: Node) -> None:
        job_id = node.submit()
        node.ended(job_id)
        answer = node.client.get(f"/download/{job_id}")
        assert answer.headers["content-type"] == "application/gzip"
        assert "attachment" in answer.headers["content-disposition"]
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            assert sorted(archive.getnames()) == ["a b.csv", "result.html", "skip.bin"]
            assert archive.extractfile("a b.csv").read() == b"1,2\n"  # type: ignore[union-attr]
        wait_until(lambda: node.client.get(f"/status/{job_id}").status_code == 404)

    def test_many_may_take_it_at_once(self, node: Node) -> None:
        job_id = node.submit()
        node.ended(job_id)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: node.client.get(f"/download/{job_id}"), range(8)))
        whole = [answer for answer in answers if answer.status_code == 200]
        assert whole
        assert {answer.status_code for answer in answers} <= {200, 404}
        for answer in whole:
            with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
                assert len(archive.getnames()) == 3

    def test_a_download_broken_off_closes_its_source(self) -> None:
        open_now = []

        def chunks() -> Generator[bytes, None, None]:
            open_now.append("file")
            try:
                yield b"first"
                yield b"second"
            finally:
                open_now.clear()

        async def hangs_up(message: Any) -> None:
            if message["type"] == "http.response.body":
                assert open_now
                raise OSError("the client has gone")

        source = chunks()  # held here, so that no collector closes it in the response's place
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "headers": []}
        with pytest.raises(ClientDisconnect):
            asyncio.run(Download(source)(scope, AsyncMock(), hangs_up))
        assert open_now == []

    def test_no_archive_before_the_end_or_of_nothing(self, tmp_path: Path) -> None:
        with a_node(tmp_path, FakeLauncher(held)) as node:
            job_id = node.submit()
            assert node.client.get(f"/download/{job_id}").status_code == 409
            node.client.delete(f"/jobs/{job_id}")
            assert node.client.get(f"/download/{job_id}").status_code == 404
            assert node.client.get(f"/status/{job_id}").status_code == 200  # nothing was handed out, so it is kept
