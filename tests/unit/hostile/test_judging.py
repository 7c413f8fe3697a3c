"""The hostile suite's own judgement: a suite that cannot fail proves nothing."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hostile import expect, packing
from hostile.campaign import judge
from hostile.cases import attacks, http_attacks
from hostile.client import ServiceError, multipart, read_download
from hostile.client import _of_broker as of_broker
from hostile.client import _of_sandrun as of_sandrun
from hostile.model import ANY_RESULT, COMPLETED, REFUSED, Attack, Case, Outcome
from hostile.node_view import Snapshot
from hostile.node_view import _differences as differences
from hostile.report import Table

FINE = Outcome(verdict=COMPLETED, exit_code=0, stdout="probed\n", wall_seconds=0.1)


def attack(**fields: Any) -> Attack:
    """A harmless attack that expects what FINE is."""
    settings: dict[str, Any] = {"name": "x", "why": "y", "programs": {}, "verdict": COMPLETED, "prints": ("probed",)}
    return Attack(case=Case(**(settings | fields)), group="g", interpreter="bash", program="")


def test_nothing_wrong() -> None:
    assert judge(attack(), FINE) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"verdict": "platform"}, "verdict platform"),
        ({"stdout": ""}, "did not print"),
        ({"stdout": "probed REACHED 127.0.0.1"}, "printed 'REACHED'"),
        ({"stderr": "ESCAPED"}, "printed 'ESCAPED'"),
        ({"wall_seconds": 99.0}, "ran for 99.00 s"),
    ],
)
def test_each_way_to_fail_is_seen(change: dict[str, Any], word: str) -> None:
    problems = judge(attack(), replace(FINE, **change))
    assert len(problems) == 1
    assert word in problems[0]


def test_refusal_is_no_verdict_of_its_own() -> None:
    refused = Outcome(verdict=REFUSED, refusal="too large")
    assert judge(attack(), refused) == ["verdict refused, expected completed"]
    assert judge(attack(verdict=(REFUSED, COMPLETED)), refused) == []


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (expect.limit_reported, {"verdict": "memory"}),
        (expect.limit_reported, {"verdict": "memory", "limit_hit": {"name": "memory_mb", "value": 128, "peak": 20}}),
        (expect.no_limit_reported, {"limit_hit": {"name": "timeout", "value": 1, "peak": 1}}),
        (expect.exit_code_is(3), {"exit_code": 137}),
        (expect.signal_is(9), {"signal": None}),
        (expect.ended_within(1), {"wall_seconds": 2.0}),
        (expect.no_more_than("held", 10), {"stdout": "x\nheld 11\n"}),
        (expect.kept_at_most(3), {"stderr": "xxxx"}),
        (expect.counted_at_least(10), {"stdout_bytes": 3}),
        (expect.output_count_true(1, 2), {"stdout_bytes": 1, "stderr_bytes": 3}),
        (expect.stdout_is("a"), {"stdout": "ab"}),
        (expect.stdout_holds_bytes(b"a\xffb"), {"stdout": "ab"}),
        (expect.prints_lines("uid 0"), {"stdout": "uid 1000"}),
        (expect.probes_refused("a", "b"), {"stdout": "a: EPERM"}),
        (expect.probes_refused("a"), {"stdout": "a: EINVAL"}),
        (expect.probes_refused("a"), {"stdout": "a: open 3"}),
        (expect.files_are("a"), {"files": {"a": b"", "b": b""}}),
        (expect.files_include("a"), {"files": {"b": b""}}),
        (expect.files_at_most(1, 10), {"files": {"a": b"x" * 11}}),
        (expect.files_hold_no_secret, {"files": {"a": b"root:x:0:0"}}),
        (expect.only_plain_members, {"odd_members": ("'a' is no plain file",)}),
    ],
)
def test_every_check_can_fail(check: Callable[[Outcome], str | None], bad: dict[str, Any]) -> None:
    assert check(replace(FINE, **bad))


def test_status_and_verdict_must_agree() -> None:
    shown = {"job_id": "j", "status": "completed", "execution_metadata": {"failure": "memory"}}
    with pytest.raises(ServiceError, match="completed with verdict memory"):
        of_sandrun(shown)
    with pytest.raises(ServiceError, match="completed with verdict cpu"):
        of_broker({"job_id": "j", "status": "completed", "failure": "cpu"})


def test_bytes_that_are_no_text_arrive() -> None:
    metadata = {"failure": None, "exit_code": 0}
    shown = {"job_id": "j", "status": "completed", "stdout_encoding": "base64", "stdout_base64": "Yf9i"}
    outcome = of_sandrun(shown | {"execution_metadata": metadata})
    assert expect.stdout_holds_bytes(b"a\xffb")(outcome) is None


def test_download_members_are_judged() -> None:
    body = io.BytesIO(
        gzip.compress(
            packing.tar(
                packing.plain("good"),
                packing.plain("../out"),
                packing.special("link", tarfile.SYMTYPE, "/etc/passwd"),
            )
        )
    )
    files, odd = read_download(body)
    assert files["good"] == b"planted"
    assert odd == ("'../out' leaves the directory", "'link' is no plain file")


def test_what_is_left_behind_is_seen() -> None:
    nothing = {"oom_kills": 0, "cpu_seconds": 0.0}
    quiet = Snapshot(processes=(), descriptors=7, memory=50 << 20, files=frozenset({"/tmp/a"}), **nothing)  # type: ignore[arg-type]
    orphan = {"pid": 9, "state": "S", "marker": "g/x[bash]#1", "service": False, "command": "sleep"}
    zombie = orphan | {"state": "Z", "marker": ""}
    assert differences(quiet, quiet) == []
    for changed in (
        replace(quiet, processes=(orphan,)),
        replace(quiet, processes=(zombie,)),
        replace(quiet, descriptors=50),
        replace(quiet, memory=500 << 20),
        replace(quiet, oom_kills=1),
        replace(quiet, files=frozenset({"/tmp/a", "/tmp/b"})),
    ):
        assert len(differences(quiet, changed)) == 1


def test_catalogue_is_sound() -> None:
    everything = attacks(slow=True)
    assert len({each.id for each in everything}) == len(everything) >= 480
    for each in everything:
        assert set(each.case.verdicts) <= {*ANY_RESULT, REFUSED}, each.id
        assert "platform" not in each.case.verdicts
        # A breach word in a program's own text would be found in what it merely prints of itself.
        assert not [word for word in each.case.never if word in each.program and word.isupper()], each.id
    assert len({each.id for each in http_attacks(slow=True)}) >= 30


def test_multipart_keeps_names_as_they_are() -> None:
    body, content_type = multipart({"../\udcff": b"x"}, b"{}")
    assert b'filename="../\xff"' in body
    assert content_type.startswith("multipart/form-data; boundary=")


def test_report_counts(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(quiet=True)
    table.add("memory", "hog[bash]", "why", "memory", 1.0, ())
    table.add("memory", "hog[ruby]", "why", "exit", 1.0, ("verdict exit",))
    assert "FAILED" in capsys.readouterr().out
    summary = table.summary([("target", "here")], ["2 zombies"])
    assert "AT THE END: 2 zombies" in summary
    assert "2 problems" in summary
    assert "| memory | hog[ruby] | why | exit | 1.00 | verdict exit |" in table.markdown()
