"""What the broker's answers to a result mean."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from agent.artifacts import Artifacts
from agent.attempts import Attempt, Attempts
from agent.backoff import Backoff
from agent.broker_client import BrokerClient, SessionTerms
from agent.clock import BootClock
from agent.delivery import CUT, Delivery
from agent.errors import BrokerAwayError
from agent.lease import Session
from agent.metrics import Metrics
from agent.model import Completion, Job, Key
from agent.outbox import Outbox
from agent.sandrun_client import SandrunClient
from agent.settlement import Releases, Settlement
from agent.spool import MAX_AGE, Entry, Spool
from agent.transfers import Transfers
from unit.agent.http_fake import FakeServer

WHO = {"node_id": "n", "session": "s"}


class Answering(FakeServer):
    """Answers /complete with `words`, in turn; `bodies` keeps what came."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        super().__init__()

    def answer(self, handler: Any, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        said = json.loads(body)
        self.bodies.append((path, said))
        if path == "/complete/batch":
            return 200, {"results": [{"job_id": c["job_id"], "status": "ok"} for c in said["completions"]]}
        return 200, {"status": "ok"}


@pytest.fixture
def server() -> Any:
    fake = Answering()
    yield fake
    fake.stop()


class Bench:
    def __init__(self, server: Answering, folder: Path) -> None:
        self.server = server
        self.outbox = Outbox(Spool(folder))
        self.over: list[str] = []
        self.attempts = Attempts()
        self.delivery = Delivery(
            broker := BrokerClient(server.url, BootClock()),
            self.outbox,
            attempts := self.attempts,
            files := Artifacts(
                Transfers(server.url, server.url),
                SandrunClient(server.url),
                Settlement(attempts, self.outbox, Releases(broker, attempts, lambda session, reason: None), Metrics()),
                lambda session, reason: None,
            ),
            Metrics(),
            retry_cap=1.0,
            on_session_over=lambda who, reason: self.over.append(reason),
        )
        self.files = files

    def add(self, job: str, output: str = "out") -> None:
        self.outbox.add(Entry(WHO, Completion(Key(job, 1), "exit", 1, output, "err" * len(output)).wire()))

    def deliver(self) -> None:
        self.outbox.hurry()
        self.delivery.deliver(self.outbox.take(0), Backoff(0.001, 0.001))


@pytest.fixture
def bench(server: Answering, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


@pytest.mark.parametrize("word", ["stale_lease", "unknown_job", ""])
def test_stale_result_is_dropped(bench: Bench, word: str) -> None:
    status = 404 if word == "unknown_job" else 409
    bench.server.refuse["/complete"] = [(status, {"error": "x", "reason": word})]
    bench.add("a")
    bench.deliver()
    assert (len(bench.outbox), bench.over) == (0, [])


@pytest.mark.parametrize(("status", "word"), [(409, "session_ended"), (404, "unknown_node")])
def test_ended_session_drops_results_and_is_told(bench: Bench, status: int, word: str) -> None:
    bench.server.refuse["/complete"] = [(status, {"error": "x", "reason": word})]
    bench.add("a")
    bench.deliver()
    assert (len(bench.outbox), bench.over) == (0, [word])


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_not_now_means_later(bench: Bench, status: int) -> None:
    bench.server.refuse["/complete"] = [(status, {"error": "x", "reason": "overloaded" if status == 503 else ""})]
    bench.add("a")
    bench.deliver()
    assert (len(bench.outbox), bench.delivery.broker_away) == (1, True)
    bench.deliver()
    assert (len(bench.outbox), bench.delivery.broker_away) == (0, False)


def test_several_results_go_in_one_call(bench: Bench) -> None:
    for job in "abc":
        bench.add(job)
    bench.deliver()
    assert len(bench.outbox) == 0
    assert [path for path, _ in bench.server.bodies] == ["/complete/batch"]


def test_broker_without_batches_gets_single_results(bench: Bench) -> None:
    bench.server.refuse["/complete/batch"] = [(404, {"error": "Not Found"})]
    for job in "ab":
        bench.add(job)
    bench.deliver()
    for job in "cd":
        bench.add(job)
    bench.deliver()
    assert len(bench.outbox) == 0
    assert [path for path, _ in bench.server.bodies] == ["/complete"] * 4


def test_one_bad_result_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.server.refuse["/complete/batch"] = [(422, {"error": "x"})]
    bench.server.refuse["/complete"] = [(422, {"error": "exit_code: must be an integer"})]
    for job in "ab":
        bench.add(job)
    bench.deliver()
    assert [said["job_id"] for _, said in bench.server.bodies] == ["b"]
    bench.deliver()
    _, said = bench.server.bodies[1]
    assert (said["job_id"], said["failure"]) == ("a", "platform")
    assert "must be an integer" in said["message"]


def test_too_large_result_is_cut_and_keeps_its_verdict(bench: Bench) -> None:
    bench.server.refuse["/complete"] = [(413, {"error": "too large"})]
    bench.add("a", "x" * (CUT + 1))
    bench.deliver()
    bench.deliver()
    _, said = bench.server.bodies[0]
    assert (said["failure"], said["exit_code"], len(said["output"]), len(said["error"])) == ("exit", 1, CUT, CUT)


def test_too_large_bytes_are_left_out(bench: Bench) -> None:
    bench.server.refuse["/complete"] = [(413, {"error": "too large"})]
    bench.outbox.add(Entry(WHO, {**Completion(Key("a", 1), None, 0, "text").wire(), "output_base64": "AAAA"}))
    bench.deliver()
    bench.deliver()
    _, said = bench.server.bodies[0]
    assert (said["failure"], said["output"], "output_base64" in said) == (None, "text", False)


def test_result_nobody_takes_is_given_up_at_last(bench: Bench) -> None:
    """Held for ever it would be renewed for ever: the job must become somebody else's."""
    attempt = Attempt(Job(Key("a", 1), "", "sh"), Session(SessionTerms("n", "s", None, 60, 20, 0.0), BootClock()))
    bench.attempts.open_session(attempt.session)
    (attempt,) = bench.attempts.grant(attempt.session, 1, [attempt.job])
    bench.server.refuse["/complete"] = [(503, {"error": "not now"})]
    bench.add("a")
    bench.outbox._items[Key("a", 1)].added -= MAX_AGE + 1
    bench.deliver()
    assert (len(bench.outbox), bench.attempts.held()[1]) == (0, [])


def test_result_refused_in_every_form_is_given_up(bench: Bench) -> None:
    bench.server.refuse["/complete"] = [(422, {"error": "no"})] * 2
    bench.add("a")
    bench.deliver()
    bench.deliver()
    assert len(bench.outbox) == 0


def test_a_broker_that_is_away_is_not_asked_for_every_single_result(bench: Bench) -> None:
    """One call a pause, however many results a long outage leaves; then they go together."""
    bench.server.refuse["/complete"] = [(503, {"error": "x", "reason": "stopping"})]
    bench.add("a")
    bench.delivery.deliver(bench.outbox.take(0), Backoff(30, 30))
    for job in "bcd":
        bench.add(job)
    assert bench.outbox.take(0.05) == []
    bench.deliver()
    assert bench.server.calls == {"/complete": 1, "/complete/batch": 1}
    bench.add("e")
    assert [entry.key.job_id for entry in bench.outbox.take(0)] == ["e"], "the pause is over, not only skipped"


class Content(io.BytesIO):
    def __len__(self) -> int:
        return len(self.getvalue())


@pytest.mark.parametrize(
    "answer",
    [b"<html>It works!</html>", b"{}", b'{"status": "ok"', b"null", b'{"a":' * 20_000, b" " * (1 << 20) + b"{}"],
)
def test_a_file_is_with_the_broker_when_the_broker_says_so(server: Answering, answer: bytes) -> None:
    """A proxy's page is no word of it: the result would name a file that nobody has."""
    path = "/artifacts/a/abc"
    server.raw[path] = [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer]
    transfers = Transfers(server.url, server.url)
    with pytest.raises(BrokerAwayError):
        transfers.put(WHO, Key("a", 1), "abc", Content(b"{}"))
    transfers.put(WHO, Key("a", 1), "abc", Content(b"{}"))
    assert server.calls[path] == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_files_that_a_restarted_broker_has_not_got_are_sent_again(
    bench: Bench, server: Answering, tmp_path: Path, restarted: bool
) -> None:
    """Also by the next agent: the result on the disk says in which run of sandrun's they are."""
    files = [{"path": "out.txt", "size": 2, "sha256": "abc", "mime": None}]
    result = Completion(Key("a", 1), None, 0, artifacts=files)
    bench.outbox.add(Entry(WHO, result.wire(), "job_1"))
    if restarted:
        bench.outbox.tidy(0)
        bench = Bench(server, tmp_path)
        bench.outbox.load()
    missing = {"error": "send them first", "reason": "missing_artifacts", "missing": ["abc"]}
    server.refuse["/complete"] = [(409, missing)]
    server.raw["/download/job_1/out.txt"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]
    bench.deliver()
    assert server.calls["/artifacts/a/abc"] == 1
    bench.deliver()
    (said,) = [said for path, said in server.bodies if path == "/complete"]
    assert said["artifacts"] == files
    assert len(bench.outbox) == 0


def test_files_that_are_gone_are_named_as_dropped(bench: Bench, server: Answering) -> None:
    files = [{"path": name, "size": 2, "sha256": name * 3, "mime": None} for name in "xy"]
    bench.outbox.add(Entry(WHO, Completion(Key("a", 1), None, 0, artifacts=files).wire(), "job_1"))
    missing = {"error": "send them first", "reason": "missing_artifacts", "missing": ["xxx"]}
    server.refuse["/complete"] = [(409, missing)]
    server.refuse["/download/job_1/x"] = [(404, {"error": "File not found"})]
    bench.deliver()
    bench.deliver()
    said = server.bodies[-1][1]
    assert [file["path"] for file in said["artifacts"]] == ["y"]
    assert said["artifacts_dropped"] == [{"path": "x", "size": 2, "reason": "undelivered"}]
