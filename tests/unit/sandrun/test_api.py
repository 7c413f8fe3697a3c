"""The HTTP API over real sockets, on sandboxes that are not real: every status, every error, every wait."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starlette.requests import ClientDisconnect
from websockets.sync.client import ClientConnection, connect

from sandrun.api import protocol, uploads
from sandrun.api.app import create_app
from sandrun.api.downloads import Download
from sandrun.identity import Identity, generate_key, signed_text
from sandrun.sandbox.launcher import ProgramEnd
from sandrun.service import Service
from sandrun.settings import Settings
from unit.sandrun.builders import BROKEN, SETTINGS, FakeLauncher, FakeSandbox, a_platform

SECONDS = 10.0


class Node:
    """A service behind a real port."""

    def __init__(self, service: Service, launcher: FakeLauncher, client: httpx.Client) -> None:
        self.service = service
        self.launcher = launcher
        self.client = client

    def submit(self, code: bytes = b"out", **manifest: Any) -> str:
        answer = self.post([("files", ("main.py", code))], manifest)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def post(self, files: list[Any], manifest: Any = None) -> httpx.Response:
        data = {} if manifest is None else {"manifest": manifest if isinstance(manifest, str) else json.dumps(manifest)}
        return self.client.post("/submit", files=files, data=data)

    def ended(self, job_id: str) -> dict[str, Any]:
        shown = self.client.get(f"/status/{job_id}", params={"wait": SECONDS, "logs": "true"}).json()
        assert shown["status"] in ("completed", "failed")
        return dict(shown)

    def stream(self, job_id: str) -> ClientConnection:
        return connect(f"ws://{self.client.base_url.netloc.decode()}/stream/{job_id}", open_timeout=SECONDS, proxy=None)


@contextmanager
def a_node(
    directory: Path,
    launcher: FakeLauncher | None = None,
    settings: Settings = SETTINGS,
    identity: Identity | None = None,
    **platform: Any,
) -> Iterator[Node]:
    launcher = launcher or FakeLauncher()
    service = Service(settings, a_platform(launcher, **platform), identity, directory)
    server = uvicorn.Server(protocol.server_config(create_app(service), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not server.started:
        assert time.monotonic() < deadline
        thread.join(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS * 2, trust_env=False) as client:
        yield Node(service, launcher, client)
    server.should_exit = True
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with a_node(tmp_path) as running:
        yield running


def held(code: bytes) -> FakeSandbox:
    """A program that prints its source and runs until somebody ends it."""
    return FakeSandbox(prints=code, end=None)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Node]:
    with a_node(tmp_path, FakeLauncher(held), replace(SETTINGS, slots=1, queue=1)) as running:
        yield running


class TestInfo:
    def test_root_says_what_clients_need(self, node: Node) -> None:
        root = node.client.get("/").json()
        assert (root["service"], root["status"], root["isolation"]) == ("sandrun", "running", "namespaces")
        assert {"wait", "result", "cancel", "stdin", "slots", "logs-offset", "limits"} <= set(root["extensions"])
        assert root["slots"] == {"total": 2, "free": 2}
        assert root["limits"]["memory_mb"] == {"default": 512, "max": 2048}
        assert root["interpreters"]["python3"] == "1.0"
        assert root["memory_mode"] == "watchdog"
        assert root["self_test"]["passed"]

    def test_health_stats_and_environments(self, node: Node) -> None:
        assert node.client.get("/health").json() == {"status": "healthy", "worker_id": None}
        stats = node.client.get("/stats").json()
        assert stats["your_quota"]["can_submit"] is True
        assert stats["system"] == {"queue_length": 0, "active_jobs": 0}
        assert node.client.get("/environments").json()["templates"] == []

    def test_any_page_may_ask(self, node: Node) -> None:
        answer = node.client.get("/health", headers={"Origin": "https://example.org"})
        assert answer.headers["access-control-allow-origin"] == "*"

    def test_the_openapi_document_names_every_call(self, node: Node) -> None:
        paths = node.client.get("/openapi.json").json()["paths"]
        assert set(paths) == {
            "/", "/health", "/stats", "/environments", "/submit", "/status/{job_id}", "/logs/{job_id}",
            "/jobs/{job_id}", "/outputs/{job_id}", "/download/{job_id}", "/download/{job_id}/{path}",
        }  # fmt: skip

    def test_without_a_sandbox_no_job_is_taken(self, tmp_path: Path) -> None:
        with a_node(tmp_path, report=BROKEN) as node:
            answer = node.post([("files", ("main.py", b"x"))], {})
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
            assert "mend the test" in answer.json()["error"]
            root = node.client.get("/").json()
            assert (root["status"], root["isolation"]) == ("unavailable", "none")
            assert "mend the test" in root["error"]
            assert node.client.get("/health").status_code == 200
            assert node.client.get("/stats").json()["your_quota"]["can_submit"] is False


class TestLife:
    def test_one_request_gives_status_output_and_verdict(self, node: Node) -> None:
        shown = node.ended(node.submit(b"hello\n", timeout=5))
        assert (shown["status"], shown["stdout"], shown["stderr"]) == ("completed", "hello\n", "")
        assert shown["execution_metadata"]["exit_code"] == 0
        assert shown["execution_metadata"]["interpreter"] == "python3"
        assert shown["queue_position"] == 0

    def test_a_failure_is_told_with_its_reason(self, tmp_path: Path) -> None:
        with a_node(tmp_path, FakeLauncher(lambda code: FakeSandbox(end=ProgramEnd(signal=11)))) as node:
            shown = node.ended(node.submit())
            assert (shown["status"], shown["execution_metadata"]["failure"]) == ("failed", "signal")
            assert shown["execution_metadata"]["signal"] == 11

    def test_waiting_ends_when_the_job_does(self, busy: Node) -> None:
        job_id = busy.submit()
        started = time.monotonic()
        timer = threading.Timer(0.2, lambda: busy.launcher.sandboxes[0].finish(ProgramEnd(exit_code=0)))
        timer.start()
        assert busy.ended(job_id)["status"] == "completed"
        assert 0.15 < time.monotonic() - started < 2

    def test_waiting_ends_when_the_time_is_up(self, busy: Node) -> None:
        job_id = busy.submit()
        shown = busy.client.get(f"/status/{job_id}", params={"wait": 0.1}).json()
        assert shown["status"] == "running"
        assert "stdout" not in shown

    def test_queue_positions_and_the_full_queue(self, busy: Node) -> None:
        first = busy.submit()
        self.running(busy, first)
        second = busy.submit()
        shown = busy.client.get(f"/status/{second}").json()
        assert (shown["status"], shown["queue_position"]) == ("queued", 1)
        answer = busy.post([("files", ("main.py", b"x"))], {})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert busy.client.get("/").json()["slots"] == {"total": 1, "free": 0}
        assert busy.client.get("/stats").json()["system"] == {"queue_length": 1, "active_jobs": 1}

    @staticmethod
    def running(node: Node, job_id: str) -> None:
        deadline = time.monotonic() + SECONDS
        while node.client.get(f"/status/{job_id}").json()["status"] != "running":
            assert time.monotonic() < deadline

    def test_cancelling_what_runs_and_what_waits(self, busy: Node) -> None:
        first = busy.submit()
        self.running(busy, first)
        second = busy.submit()
        for job_id in (second, first):
            answer = busy.client.delete(f"/jobs/{job_id}")
            assert (answer.status_code, answer.json()["status"]) == (200, "failed")
            assert busy.ended(job_id)["execution_metadata"]["failure"] == "cancelled"
        assert busy.client.delete(f"/jobs/{first}").status_code == 200
        assert busy.client.delete("/jobs/job_x").status_code == 404

    def test_forgetting(self, tmp_path: Path) -> None:
        with a_node(tmp_path, FakeLauncher(lambda code: FakeSandbox(leaves={"x": b"1"}))) as node:
            job_id = node.submit()
            node.ended(job_id)
            kept = tmp_path / "outputs" / job_id
            assert kept.exists()
            assert node.client.delete(f"/jobs/{job_id}").status_code == 200
            assert node.client.delete(f"/jobs/{job_id}", params={"forget": "true"}).json()["status"] == "completed"
            assert not kept.exists()
            assert node.client.get(f"/status/{job_id}").status_code == 404

    def test_standard_input_arguments_and_environment_reach_the_program(self, node: Node) -> None:
        node.ended(node.submit(args=["a", "b"], env={"X": "1"}, stdin="in"))
        spec = node.launcher.started[0]
        assert spec.stdin == b"in"
        assert tuple(spec.command)[-3:] == ("main.py", "a", "b")
        assert spec.env["X"] == "1"

    def test_a_manifest_in_the_upload_serves(self, node: Node) -> None:
        answer = node.post(
            [("files", ("job.json", b'{"entrypoint": "x.py", "args": ["z"]}')), ("files", ("x.py", b"1"))]
        )
        node.ended(answer.json()["job_id"])
        assert tuple(node.launcher.started[0].command)[-2:] == ("x.py", "z")

    def test_unknown_fields_are_told(self, node: Node) -> None:
        assert node.post([("files", ("main.py", b"x"))], {"colour": 1}).json()["ignored_fields"] == ["colour"]

    def test_results_are_signed(self, tmp_path: Path) -> None:
        identity = generate_key(tmp_path / "key")
        with a_node(tmp_path, identity=identity) as node:
            shown = node.ended(node.submit())
            worker = shown["worker_metadata"]
            assert worker["worker_id"] == identity.worker_id == node.client.get("/health").json()["worker_id"]
            usage = shown["execution_metadata"]
            text = signed_text(shown["job_hash"], 0, usage["cpu_seconds"], usage["memory_peak_bytes"] >> 20, {})
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(worker["worker_id"]))
            public.verify(base64.b64decode(worker["signature"]), text.encode())


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
        released = threading.Event()

        def stalling() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            released.wait(SECONDS)
            yield b"late"

        timer = threading.Timer(0.5, released.set)
        timer.start()
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = node.client.post("/submit", content=stalling(), headers=kind)
        assert answer.status_code == 408
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


class TestLogs:
    def test_live_output_by_offset(self, busy: Node) -> None:
        job_id = busy.submit(b"one\n")
        shown = busy.client.get(f"/logs/{job_id}", params={"stdout_from": 0, "wait": SECONDS}).json()
        assert (shown["stdout"], shown["stdout_next"], shown["status"]) == ("one\n", 4, "running")
        timer = threading.Timer(0.1, lambda: busy.launcher.sandboxes[0].say("zwei ü\n".encode()))
        timer.start()
        shown = busy.client.get(f"/logs/{job_id}", params={"stdout_from": 4, "wait": SECONDS}).json()
        assert (shown["stdout"], shown["stdout_from"], shown["stdout_next"]) == ("zwei ü\n", 4, 12)
        assert shown["stderr_next"] == 0

    def test_nothing_new_in_time(self, busy: Node) -> None:
        job_id = busy.submit(b"one\n")
        busy.client.get(f"/logs/{job_id}", params={"stdout_from": 0, "wait": SECONDS})
        shown = busy.client.get(f"/logs/{job_id}", params={"stdout_from": 4, "wait": 0.05}).json()
        assert (shown["stdout"], shown["stdout_next"]) == ("", 4)

    def test_all_at_once(self, node: Node) -> None:
        job_id = node.submit(b"all")
        shown = node.client.get(f"/logs/{job_id}", params={"wait": SECONDS}).json()
        assert (shown["stdout"], shown["stderr"], shown["status"]) == ("all", "", "completed")


class TestStream:
    def test_a_finished_job_is_replayed(self, node: Node) -> None:
        job_id = node.submit(b"hello")
        node.ended(job_id)
        with node.stream(job_id) as stream:
            assert list(stream) == ["hello", "[DONE] Job completed exit code 0"]

    def test_output_comes_as_it_is_printed(self, tmp_path: Path) -> None:
        launcher = FakeLauncher(lambda code: FakeSandbox(prints=code, complains=b"oops", end=None))
        with a_node(tmp_path, launcher) as node, node.stream(node.submit(b"first")) as stream:
            frames = self.until(stream, lambda seen: {"first", "[STDERR]oops"} <= set(seen))
            assert "[STATUS] running" in frames
            launcher.sandboxes[0].say(b"second")
            assert self.until(stream, lambda seen: "second" in seen)
            launcher.sandboxes[0].finish(ProgramEnd(exit_code=3))
            assert self.until(stream, lambda seen: seen[-1:] == ["[DONE] Job failed exit code 3 (exit)"])

    @staticmethod
    def until(stream: ClientConnection, condition: Callable[[list[str]], bool]) -> list[str]:
        seen: list[str] = []
        while not condition(seen):
            seen.append(str(stream.recv(timeout=SECONDS)))
        return seen

    def test_an_unknown_job(self, node: Node) -> None:
        with node.stream("job_x") as stream:
            assert stream.recv(timeout=SECONDS) == "[ERROR] Job not found"

    def test_a_client_that_leaves_takes_nothing_with_it(self, busy: Node) -> None:
        job_id = busy.submit(b"x")
        with busy.stream(job_id):
            pass
        assert busy.client.get(f"/status/{job_id}").json()["status"] in ("queued", "running")
        assert busy.client.get("/health").status_code == 200


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
        deadline = time.monotonic() + SECONDS
        while node.client.get(f"/status/{job_id}").status_code != 404:
            assert time.monotonic() < deadline

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
