"""What clients see of a job's output: text where it is text, exact bytes where it is not, and what was cut."""

from __future__ import annotations

import base64

from sandrun.api import views
from sandrun.jobs.job import JobStatus
from sandrun.sandbox.spec import Failure, LimitHit, Outcome
from unit.sandrun.builders import a_job


def test_text_is_text() -> None:
    job = a_job()
    job.stdout.append("héllo\0\n".encode())
    shown = views.logs(job)
    assert shown["stdout"] == "héllo\0\n"
    assert shown["stdout_encoding"] == "utf-8"
    assert "stdout_base64" not in shown


def test_bytes_that_are_no_text_survive_beside_a_readable_form() -> None:
    job = a_job()
    job.stdout.append(b"a\xff\xfe\0b")
    shown = views.logs(job)
    assert shown["stdout_encoding"] == "base64"
    assert base64.b64decode(shown["stdout_base64"]) == b"a\xff\xfe\0b"
    assert shown["stdout"] == "a\ufffd\ufffd\0b"


def test_what_was_cut_is_marked_and_counted() -> None:
    job = a_job()
    keep = job.manifest.limits.output_keep_bytes
    job.stdout.append(b"x" * (keep + 77))
    shown = views.logs(job)
    assert shown["stdout_cut_bytes"] == 77
    assert shown["stdout_cut_at"] == keep // 2
    assert "\n[sandrun: 77 bytes cut here]\n" in shown["stdout"]
    assert shown["stdout_bytes"] == keep + 77


def test_a_cut_through_a_character_leaves_text() -> None:
    job = a_job()
    keep = job.manifest.limits.output_keep_bytes
    printed = "€" * keep  # three bytes each: neither half ends or starts at one
    job.stdout.append(b"a" + printed.encode())
    shown = views.logs(job)
    assert shown["stdout_encoding"] == "utf-8"
    head, _, tail = shown["stdout"].partition("\n[sandrun: ")
    assert head == "a" + "€" * ((keep // 2 - 1) // 3)
    assert tail.endswith("€")
    kept = len(shown["stdout"].replace(views.cut_marker(shown["stdout_cut_bytes"]).decode(), "").encode())
    assert kept + shown["stdout_cut_bytes"] == shown["stdout_bytes"]


def test_a_character_that_has_not_arrived_whole_waits() -> None:
    job = a_job()
    job.stdout.append("ok €".encode()[:-1])
    first = views.logs(job, 0, 0)
    assert (first["stdout"], first["stdout_next"]) == ("ok ", 3)
    job.stdout.append("€".encode()[-1:])
    second = views.logs(job, first["stdout_next"], 0)
    assert (second["stdout"], second["stdout_next"]) == ("€", 6)


def test_nothing_waits_when_the_job_has_ended() -> None:
    job = a_job()
    job.stdout.append(b"ok \xe2\x82")
    job.outcome = Outcome()
    job.status = JobStatus.COMPLETED
    shown = views.logs(job, 0, 0)
    assert shown["stdout_next"] == 5
    assert base64.b64decode(shown["stdout_base64"]) == b"ok \xe2\x82"


def test_the_verdict_has_every_field() -> None:
    job = a_job()
    job.outcome = Outcome(
        failure=Failure.MEMORY,
        limit_hit=LimitHit("memory_mb", 64, 66.5),
        signal=9,
        wall_seconds=0.25,
        cpu_seconds=0.125,
        memory_peak_bytes=70_000_000,
    )
    shown = views.execution_metadata(job)
    assert shown["failure"] == "memory"
    assert shown["limit_hit"] == {"name": "memory_mb", "value": 64, "peak": 66.5}
    assert (shown["exit_code"], shown["signal"]) == (None, 9)
    assert (shown["wall_time_ms"], shown["cpu_seconds"], shown["memory_peak_bytes"]) == (250.0, 0.125, 70_000_000)


def test_before_the_end_there_is_no_verdict() -> None:
    shown = views.execution_metadata(a_job())
    assert shown["failure"] is None
    assert shown["exit_code"] is None
