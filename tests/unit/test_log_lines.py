"""Log lines of the broker and of the node's programs: one a record, nothing in them that was smuggled in."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import broker.context
import broker.logs
import loglines
from broker.errors import StoreBrokenError

FORGERIES = [
    'a\r\n{"time": "2026-01-01", "level": "info", "event": "all is well"}',
    "a\nb",
    "a\x1b[2J\x1b[31mred",
    "a\x9b31m",
    "a\u2028b\u2029c\x85d",
    "a\u202eevil",
    "a\x00b\x7f\x08\x08",
    "a\ud800",
    "a\u2060b\xadc\U000e0041d\u206ae",
    'a" level="error',
]
MODULES: dict[str, Any] = {"broker": broker.logs, "node": loglines}
Line = Callable[..., str]


@pytest.fixture(params=[(program, style) for program in MODULES for style in ("json", "text")], ids="-".join)
def style(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def line(style: tuple[str, str]) -> Iterator[Line]:
    """Writes an event by a program's logger in a style; the answer is what came out."""
    program, form = style
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Kept()
    handler.setFormatter(MODULES[program].LineFormatter(form))
    logger = logging.getLogger("test.lines")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    def write(event: str, level: str = "warning", **fields: object) -> str:
        getattr(MODULES[program].EventLog("test.lines"), level)(event, **fields)
        return written[-1]

    yield write
    logger.removeHandler(handler)


@pytest.mark.parametrize("text", FORGERIES)
def test_a_record_is_one_line_of_plain_characters(line: Line, style: tuple[str, str], text: str) -> None:
    for made in (line("node is gone", node=text), line(text), line("x", names=[text, "b"])):
        assert len(made.splitlines()) == 1
        made.encode("utf-8")
        assert all(char.isprintable() for char in made)
        if style[1] == "json":
            assert json.loads(made)["level"] == "warning"
            assert all(char.isprintable() for value in json.loads(made).values() for char in str(value))
    if style[1] == "text":
        facts = re.sub(r'"(?:[^"\\]|\\.)*"', "", line("gone", node=text))
        assert 'level="error' not in facts, "a value ends where it seems to end"


def test_a_line_holds_its_facts(line: Line, style: tuple[str, str]) -> None:
    made = line("attempt was lost", job="0199-a", attempt=2, fence=3, node="node-1", session=4, why=None, sure=True)
    if style[1] == "json":
        said = json.loads(made)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said.pop("time"))
        assert said == {
            **{"level": "warning", "event": "attempt was lost", "source": "test.lines"},
            **{"job": "0199-a", "attempt": 2, "fence": 3, "node": "node-1", "session": 4, "why": None, "sure": True},
        }
    else:
        assert re.match(r"\d{4}-\d\d-\d\dT\S+ WARNING attempt was lost +\w+=", made)
        assert {"job=0199-a", "attempt=2", "fence=3", "node=node-1", "session=4"} <= set(made.split())


def test_what_is_no_number_in_json_is_text(line: Line, style: tuple[str, str]) -> None:
    made = line("x", seconds=float("nan"), load=float("inf"))
    if style[1] == "json":
        assert '"seconds": "nan", "load": "inf"' in made
    else:
        assert {"seconds=nan", "load=inf"} <= set(made.split())


def test_the_request_is_in_every_line_of_its_call(line: Line, style: tuple[str, str]) -> None:
    request_id = broker.context.REQUEST_ID if style[0] == "broker" else loglines.REQUEST_ID
    assert "request" not in line("x")
    token = request_id.set("req-1")
    assert "req-1" in line("x")
    request_id.reset(token)
    with loglines.about("job.3"):
        assert ("job.3" in line("x")) is (style[0] == "node")
    assert "job.3" not in line("x")


def test_records_of_libraries_have_the_same_form(line: Line, style: tuple[str, str]) -> None:
    (handler,) = logging.getLogger("test.lines").handlers
    record = logging.LogRecord(
        "uvicorn.error", logging.INFO, "x.py", 1, "Uvicorn runs on %s\n%d", ("http://a", 1), None
    )
    made = handler.format(record)
    assert len(made.splitlines()) == 1
    if style[1] == "json":
        said = json.loads(made)
        assert (said["event"], said["source"]) == ("Uvicorn runs on http://a\\n1", "uvicorn.error")


def test_keys_stay_out(line: Line) -> None:
    key = "sbk_" + "a" * 12 + "_" + "b" * 49
    for text in (f"key {key} is wrong", f"Authorization: Bearer {key}", "authorization: bearer otherwise-secret"):
        for made in (line(text), line("x", header=text), line("x", headers=[text])):
            assert "bbb" not in made
            assert "otherwise-secret" not in made


def test_long_messages_are_cut(line: Line) -> None:
    assert len(line("x" * 100_000)) < 5000
    assert len(line("x", name="y" * 100_000)) < 5000


def test_a_trace_says_where_and_not_what(line: Line, style: tuple[str, str]) -> None:
    def fail(code: str) -> None:
        raise ValueError(f"cannot make sense of {code}")

    ours = StoreBrokenError if style[0] == "broker" else OSError
    made = ""
    try:
        try:
            fail("print('secret')\n2026-01-01 INFO forged")
        except ValueError as inner:
            raise ours("disk full\n2026-01-01 INFO forged") from inner
    except ours:
        made = line("a call failed", "crash")
    assert "secret" not in made
    assert "Traceback" in made
    assert "builtins.ValueError" in made
    assert "disk full\\n2026" in made.replace("\\\\n", "\\n")
    assert "in fail" in made
    if style[1] == "json":
        assert len(made.splitlines()) == 1
        assert isinstance(json.loads(made)["trace"], list)
    else:
        head, *rest = made.splitlines()
        assert "ERROR   a call failed" in head
        assert all(part.startswith("    | ") for part in rest)


def test_a_trace_is_bounded(line: Line) -> None:
    def fall(deep: int) -> None:
        if deep:
            fall(deep - 1)
        raise RuntimeError

    made = ""
    try:
        fall(sys.getrecursionlimit() - 200)
    except RuntimeError:
        made = line("deep", "crash")
    assert made.count("in fall") <= 100


def test_the_form_fits_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert loglines.resolved("auto") == ("text", True)
    assert loglines.resolved("json") == ("json", True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert loglines.resolved("auto") == ("json", False)
