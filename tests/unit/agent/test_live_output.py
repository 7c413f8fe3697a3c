"""Live output between a sandrun and a broker that are both played by the test."""

import base64
import threading
from typing import Any, cast

import pytest

from agent.attempts import Attempts
from agent.broker_client import SessionTerms
from agent.errors import BrokerAwayError, SandrunGoneError
from agent.lease import Session
from agent.live_output import LiveOutput
from agent.model import Job, Key
from agent.threads import Crash
from support.waiting import wait_until
from unit.agent.conftest import TestClock

KEY = Key("job", 3)
DEADLINE = 60.0


class Played:
    """sandrun's live logs and the broker's /progress."""

    def __init__(self) -> None:
        self.output = b""
        self.over = False
        self.printed = threading.Condition()
        self.chunks: list[dict[str, Any]] = []
        self.away = 0
        self.enough = False

    def prints(self, data: bytes, *, over: bool = False) -> None:
        with self.printed:
            self.output += data
            self.over = over
            self.printed.notify_all()

    def live_logs(self, job_id: str, stdout_from: int, stderr_from: int, wait: int) -> dict[str, Any]:
        assert job_id == "sandrun-1"
        with self.printed:
            self.printed.wait_for(lambda: len(self.output) > stdout_from or self.over, wait)
            data = self.output[stdout_from:]
            status = "completed" if self.over else "running"
        return {"stdout_base64": base64.b64encode(data).decode(), "stdout_from": stdout_from, "status": status}

    def progress(self, who: dict[str, Any], chunks: list[dict[str, Any]]) -> set[Key]:
        with self.printed:
            if self.away:
                self.away -= 1
                raise BrokerAwayError("away", None)
            self.chunks += chunks
            self.printed.notify_all()
        return {KEY} if self.enough else set()

    @property
    def heard(self) -> bytes:
        found = b""
        for chunk in self.chunks:
            if chunk["data_base64"]:
                assert chunk["offset"] == len(found)
                found += base64.b64decode(chunk["data_base64"])
        return found

    def wait(self, data: bytes) -> None:
        with self.printed:
            assert self.printed.wait_for(lambda: self.heard == data, DEADLINE), self.chunks


def rig() -> tuple[Played, LiveOutput, Attempts, Session]:
    played, attempts, crash = Played(), Attempts(), Crash()
    session = Session(SessionTerms("n", "s", None, 60, 20, TestClock().now()), cast(Any, TestClock()))
    attempts.open_session(session)
    live = LiveOutput(cast(Any, played), cast(Any, played), attempts, crash)
    live.possible = True
    return played, live, attempts, session


def test_what_is_printed_is_sent_from_its_start_to_its_end() -> None:
    played, live, attempts, session = rig()
    (attempt,) = attempts.grant(session, 1, [Job(KEY, "", "python3")])
    live.obey([{"job_id": "job", "fence": 3, "stdout_from": 0, "stderr_from": 0}])
    attempt.launched("sandrun-1")
    with played.printed:
        assert played.printed.wait_for(lambda: played.chunks, DEADLINE), "a follow is answered at once"
    assert played.chunks[0]["data_base64"] == ""
    played.prints(b"one\n")
    played.wait(b"one\n")
    played.away = 2
    played.prints(b"\xff\xfe" * 400_000, over=True)
    played.wait(b"one\n" + b"\xff\xfe" * 400_000)


def test_a_wish_that_comes_before_its_attempt_is_kept() -> None:
    played, live, attempts, session = rig()
    live.obey([{"job_id": "job", "fence": 3, "stdout_from": 0, "stderr_from": 0}])
    (attempt,) = attempts.grant(session, 1, [Job(KEY, "", "python3")])
    live.granted(attempt)
    attempt.launched("sandrun-1")
    played.prints(b"early", over=True)
    played.wait(b"early")


def test_it_ends_when_nobody_reads_any_more() -> None:
    played, live, attempts, session = rig()
    (attempt,) = attempts.grant(session, 1, [Job(KEY, "", "python3")])
    attempt.launched("sandrun-1")
    played.enough = True
    live.follow(KEY)
    played.prints(b"x", over=True)
    with played.printed:
        assert played.printed.wait_for(lambda: played.chunks, DEADLINE)
    wait_until(lambda: not live._followed)


@pytest.mark.parametrize("said", [None, "x", 5, "ö", ["x"]])
def test_a_sandrun_that_goes_away_or_says_nonsense_ends_it_quietly(said: object) -> None:
    played, live, attempts, session = rig()
    (attempt,) = attempts.grant(session, 1, [Job(KEY, "", "python3")])
    attempt.launched("sandrun-1")

    def gone(*_: Any) -> dict[str, Any]:
        if said is None:
            raise SandrunGoneError("gone")
        return {"stdout_base64": said, "status": "running"}

    played.live_logs = gone  # type: ignore[assignment, method-assign]
    live.follow(KEY)
    for thread in threading.enumerate():
        if thread.name == "follow-job":
            thread.join(DEADLINE)
    assert not live._followed
    assert not live._crash.happened.is_set()
