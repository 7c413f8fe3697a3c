"""Collecting what a hostile program left: plain files are copied, nothing else is touched, everything is bounded."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandrun.outputs.collect import Collection, CollectLimits, collect
from sandrun.outputs.pack import tar_gz
from sandrun.outputs.patterns import matcher

LIMITS = CollectLimits(files=10, total_bytes=10_000, entries=2000, depth=8)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


@pytest.fixture
def run(job: Path, tmp_path: Path) -> Iterator[object]:
    fd = os.open(job, os.O_RDONLY | os.O_DIRECTORY)

    def collected(
        *patterns: str, limits: CollectLimits = LIMITS, unchanged: dict[str, bytes] | None = None
    ) -> Collection:
        wanted = matcher(patterns) if patterns else lambda path: True
        return collect(fd, tmp_path / "kept", wanted, unchanged or {}, limits)

    yield collected
    os.close(fd)


def test_files_are_kept_with_hash_type_and_size(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "sub").mkdir()
    (job / "sub" / "result.csv").write_bytes(b"a,b\n")
    (job / "blob").write_bytes(b"\0\1")
    files = run().files
    assert sorted(files) == ["blob", "sub/result.csv"]
    csv = files["sub/result.csv"]
    assert (csv.size, csv.mime_type, csv.sha256) == (4, "text/csv", hashlib.sha256(b"a,b\n").hexdigest())
    assert csv.stored.read_bytes() == b"a,b\n"
    assert files["blob"].mime_type == "application/octet-stream"


def test_uploads_are_outputs_only_when_changed(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "main.py").write_bytes(b"same")
    (job / "data").write_bytes(b"new!")
    assert list(run(unchanged={"main.py": b"same", "data": b"old!"}).files) == ["data"]


def test_links_are_never_followed(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "passwd").symlink_to("/etc/passwd")
    (job / "root").symlink_to("/")
    (job / "loop").symlink_to("loop")
    found = run()
    assert found.files == {}
    assert found.notes() == ["3 not kept: links"]


def test_fifos_and_sockets_do_not_block(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    os.mkfifo(job / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(job / "socket"))
        found = run()
    assert found.files == {}
    assert found.notes() == ["2 not kept: FIFOs, sockets and devices"]


def test_a_sparse_terabyte_is_passed_over(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    with (job / "huge").open("wb") as file:
        file.truncate(1 << 40)
    started = time.monotonic()
    assert run().notes() == ["1 not kept: too big"]
    assert time.monotonic() - started < 60, "to read it takes minutes"


def test_bytes_are_bounded_in_all(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    for number in range(5):
        (job / str(number)).write_bytes(bytes(3000))
    found = run()
    assert sum(file.size for file in found.files.values()) <= LIMITS.total_bytes
    assert (len(found.files), found.passed_over["too big"]) == (3, 2)


def test_names_of_one_file_share_one_copy(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "a.txt").write_bytes(bytes(3000))
    os.link(job / "a.txt", job / "b.csv")
    files = run().files
    assert files["a.txt"].stored == files["b.csv"].stored
    assert (files["a.txt"].mime_type, files["b.csv"].mime_type) == ("text/plain", "text/csv")
    assert files["b.csv"].path == "b.csv"


def test_a_directory_that_forbids_everything_is_read_all_the_same(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "good").write_bytes(b"1")
    job.chmod(0)
    assert list(run().files) == ["good"]


def test_the_archive_is_one_that_others_read(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    contents = {"a": b"", "b/c.txt": b"x" * 511, "d": bytes(100_000)[:5000], "ü" * 60: b"long name"}
    (job / "b").mkdir()
    for path, content in contents.items():
        (job / path).write_bytes(content)
    packed = b"".join(tar_gz(run().files, 1_700_000_000.5))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == contents  # type: ignore[union-attr]
        assert {member.mtime for member in archive} == {1_700_000_000}


def test_files_are_bounded_in_number(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    for number in range(25):
        (job / str(number)).touch()
    found = run()
    assert len(found.files) == 10
    assert found.notes() == ["15 not kept: more than 10 files"]


def test_entries_are_bounded(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    for number in range(3000):
        (job / str(number)).touch()
    assert "whatever came after 2000 entries" in run().passed_over


def test_depth_is_bounded(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    deep = job
    for _ in range(50):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x").touch()
    found = run()
    assert found.files == {}
    assert "directories deeper than 8" in found.passed_over


def test_names_are_kept_byte_for_byte(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    odd = (b"new\nline", b"bad\xff", b"back\\slash", b"esc\x1b[31m", b"good \xc3\xbc", b" ")
    names = {os.fsdecode(name) for name in odd}
    for name in names:
        (job / name).write_bytes(os.fsencode(name))
    files = run().files
    assert set(files) == names
    assert all(file.stored.read_bytes() == os.fsencode(name) for name, file in files.items())
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_gz(files, 0)))) as archive:
        assert {member.name for member in archive} == names


def test_paths_that_are_too_long_are_passed_over(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    deep = job.joinpath(*["d" * 250] * 4)
    deep.mkdir(parents=True)
    (deep / ("x" * 30)).touch()
    assert run().notes() == ["1 not kept: names that are too long"]


def test_what_is_not_kept_is_named_with_a_reason(job: Path, run) -> None:  # type: ignore[no-untyped-def]
    (job / "big").write_bytes(bytes(LIMITS.total_bytes + 1))
    (job / "link").symlink_to("big")
    os.mkfifo(job / "fifo")
    (job / "unwanted.txt").touch()
    dropped = sorted((each.path, each.size, each.reason) for each in run("big", "link", "fifo").dropped)
    assert dropped == [("big", LIMITS.total_bytes + 1, "too_large"), ("fifo", None, "special"), ("link", None, "link")]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read everything, so a test run by root acts as another user here."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(1000)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def test_what_cannot_be_read_is_passed_over() -> None:
    # Not below tmp_path, whose parents are the test runner's user's alone.
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o777)
        job = top / "job"
        job.mkdir()
        (job / "file").touch(mode=0)
        (job / "directory").mkdir(mode=0)
        fd = os.open(job, os.O_RDONLY | os.O_DIRECTORY)
        with unprivileged():
            found = collect(fd, top / "kept", lambda path: True, {}, LIMITS)
        os.close(fd)
    assert found.notes() == ["1 not kept: unreadable directories", "1 not kept: unreadable files"]


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "deep/er/a.csv", True),
        ("out/*.csv", "out/a.csv", True),
        ("out/*.csv", "out/x/a.csv", False),
        ("out/**", "out/x/a.csv", True),
        ("out/", "out/x/a.csv", True),
        ("out/", "other/out/a", False),
        ("**/a.csv", "a.csv", True),
        ("./a.csv", "a.csv", True),
        ("?.txt", "a.txt", True),
        ("?.txt", "ab.txt", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("[z-a].txt", "b.txt", False),
        ("a.b", "axb", False),
        ("a(b", "a(b", True),
    ],
)
def test_patterns(pattern: str, path: str, wanted: bool) -> None:
    assert matcher([pattern])(path) is wanted


def test_no_pattern_takes_forever() -> None:
    started = time.monotonic()
    for pattern in ("*a" * 30, "**/" * 30 + "x", "*" * 1000 + "b", "?*" * 30 + "b"):
        matcher([pattern])("a" * 200)
        matcher([pattern])("a/" * 30 + "c")
    assert time.monotonic() - started < 60, "by trying all ways to match, the first alone takes years"
