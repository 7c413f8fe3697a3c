"""Log lines: one a record, nothing in them that was smuggled in."""

import logging
import sys
from typing import Any

import pytest

from broker.errors import StoreBrokenError
from broker.logs import LineFormatter

FORGERIES = [
    "a\r\n2026-01-01 00:00:00,000 INFO broker: all is well",
    "a\nb",
    "a\x1b[2J\x1b[31mred",
    "a\x9b31m",
    "a\u2028b\u2029c\x85d",
    "a\u202eevil",
    "a\x00b\x7f\x08\x08",
    "a\ud800",
]


def line(message: str, *args: Any, name: str = "broker.x", error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, logging.WARNING, "x.py", 1, message, args, info)
    return LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s").format(record)


@pytest.mark.parametrize("text", FORGERIES)
def test_a_record_is_one_line_of_plain_characters(text: str) -> None:
    for made in (line("node %s: gone", text), line(text)):
        assert len(made.splitlines()) == 1
        made.encode("utf-8")
        assert all(char.isprintable() for char in made)


def test_keys_and_query_strings_stay_out() -> None:
    key = "sbk_" + "a" * 12 + "_" + "b" * 49
    for text in (f"key {key} is wrong", f"Authorization: Bearer {key}", "authorization: bearer otherwise-secret"):
        made = line("%s", text)
        assert "bbb" not in made
        assert "otherwise-secret" not in made
    access = line(
        '%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/jobs?token=hush&x=1", "1.1", 200, name="uvicorn.access"
    )
    assert "hush" not in access
    assert access.endswith('"GET /jobs?… HTTP/1.1" 200')


def test_long_messages_are_cut() -> None:
    assert len(line("%s", "x" * 100_000)) < 5000


def test_a_trace_says_where_and_not_what() -> None:
    def fail(code: str) -> None:
        raise ValueError(f"cannot make sense of {code}")

    try:
        try:
            fail("print('secret')\n2026-01-01 INFO forged")
        except ValueError as inner:
            raise StoreBrokenError("disk full\n2026-01-01 INFO forged") from inner
    except StoreBrokenError:
        error = sys.exc_info()[1]
    made = line("a call failed", error=error)
    head, *rest = made.splitlines()
    assert head.endswith("WARNING broker.x: a call failed")
    assert all(part.startswith("    | ") for part in rest)
    assert "secret" not in made.replace("fail(\"print('secret')", "")
    assert "builtins.ValueError" in made
    assert "disk full\\n2026" in made
    assert "in fail" in made
