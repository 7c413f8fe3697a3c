"""The HTTP API over real sockets: what a job prints, by offset and as a stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from websockets.sync.client import ClientConnection

from sandrun.sandbox.launcher import ProgramEnd
from unit.sandrun.builders import FakeLauncher, FakeSandbox
from unit.sandrun.http_node import SECONDS, Node, a_node


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
