"""The HTTP API over real sockets: what it says of itself, and a job from its submission to its end."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sandrun.identity import generate_key, signed_text
from sandrun.sandbox.launcher import ProgramEnd
from support.waiting import wait_until
from unit.sandrun.builders import BROKEN, FakeLauncher, FakeSandbox
from unit.sandrun.http_node import SECONDS, Node, a_node


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
        assert 0.15 < time.monotonic() - started < SECONDS / 2

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
        wait_until(lambda: node.client.get(f"/status/{job_id}").json()["status"] == "running")

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
