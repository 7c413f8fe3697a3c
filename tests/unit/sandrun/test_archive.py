"""Archives from strangers: what is plain is unpacked, everything else is refused before anything is kept of it."""

from __future__ import annotations

import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandrun.archive import ArchiveError, UnpackLimits, is_archive, unpack
from sandrun.jobs.uploads import UploadedPart, UploadError, job_files
from sandrun.sandbox.spec import InputFile

SMALL = UnpackLimits(entries=100, total_bytes=1 << 20, ratio=250)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info, content


def zip_of(*members: tuple[str, bytes, int]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return target.getvalue()


def test_a_tar_gz_is_unpacked() -> None:
    data = tar_of(
        member("main.py", b"print(1)"), member("bin/run", b"#!", mode=0o755), member("d", kind=tarfile.DIRTYPE)
    )
    assert unpack("x.tar.gz", data, SMALL) == [
        InputFile("main.py", b"print(1)"),
        InputFile("bin/run", b"#!", executable=True),
    ]
    assert unpack("x.tgz", data, SMALL) == unpack("x.TAR.GZ", data, SMALL)


def test_a_plain_tar_and_a_zip_are_unpacked() -> None:
    assert unpack("x.tar", tar_of(member("a", b"1"), mode="w"), SMALL) == [InputFile("a", b"1")]
    zipped = zip_of(("a/b", b"1", stat.S_IFREG | 0o755), ("d/", b"", stat.S_IFDIR | 0o755))
    assert unpack("x.zip", zipped, SMALL) == [InputFile("a/b", b"1", executable=True)]


def test_links_within_the_upload_are_kept_as_links() -> None:
    data = tar_of(
        member("a/x", b"1"),
        member("a/y", kind=tarfile.SYMTYPE, link="x"),
        member("z", kind=tarfile.SYMTYPE, link="a/x"),
    )
    assert [file.link for file in unpack("x.tgz", data, SMALL)] == [None, "x", "a/x"]
    zipped = zip_of(("a", b"1", stat.S_IFREG | 0o644), ("b", b"a", stat.S_IFLNK | 0o777))
    assert unpack("x.zip", zipped, SMALL)[1].link == "a"


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil", b"x"),
        member("/etc/cron.d/evil", b"x"),
        member("a/../../evil", b"x"),
        member("a\nb", b"x"),
        member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("link", kind=tarfile.SYMTYPE, link="../../etc/passwd"),
        member("a/link", kind=tarfile.SYMTYPE, link="../.."),
        member("link", kind=tarfile.SYMTYPE, link=""),
        member("hard", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        member("hard", kind=tarfile.LNKTYPE, link="main.py"),
        member("dev", kind=tarfile.CHRTYPE),
        member("dev", kind=tarfile.BLKTYPE),
        member("fifo", kind=tarfile.FIFOTYPE),
        member("x" * 300, b"x"),
    ],
    ids=lambda bad: f"{bad[0].name[:20]!r}-{bad[0].type.decode()}-{bad[0].linkname}",
)
def test_tar_members_that_are_refused(bad: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(ArchiveError, match=r"^x\.tgz: "):
        unpack("x.tgz", tar_of(member("main.py", b"1"), bad), SMALL)


@pytest.mark.parametrize(
    ("name", "content", "mode"),
    [
        ("../evil", b"x", stat.S_IFREG),
        ("/evil", b"x", stat.S_IFREG),
        ("..\\evil", b"x", stat.S_IFREG),
        ("link", b"/etc/passwd", stat.S_IFLNK),
        ("link", b"../x", stat.S_IFLNK),
        ("fifo", b"", stat.S_IFIFO),
        ("dev", b"", stat.S_IFCHR),
    ],
)
def test_zip_members_that_are_refused(name: str, content: bytes, mode: int) -> None:
    with pytest.raises(ArchiveError):
        unpack("x.zip", zip_of((name, content, mode)), SMALL)


def test_a_gzip_bomb_stops_at_its_bound() -> None:
    with pytest.raises(ArchiveError, match="more than"):
        unpack("x.tar.gz", tar_of(member("zeros", bytes(64 << 20))), UnpackLimits())


def test_a_bomb_of_gzip_alone_costs_nothing() -> None:
    """A block of zeros ends a tar: what follows is never unpacked."""
    assert unpack("x.tgz", gzip.compress(bytes(64 << 20)), UnpackLimits(total_bytes=1 << 20)) == []


def test_a_header_bomb_counts_like_content() -> None:
    """A pax header as long as a film is read whole by any tar program."""
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "y" * (8 << 20)}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(ArchiveError):
        unpack("x.tgz", target.getvalue(), SMALL)


def test_headers_that_the_library_would_gather_are_refused_at_sight() -> None:
    sparse = tarfile.TarInfo("s")
    sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 1
    with pytest.raises(ArchiveError, match="sparse"):
        unpack("a.tar", sparse.tobuf(tarfile.GNU_FORMAT) + bytes(1024), UnpackLimits())
    everywhere = tarfile.TarInfo("g")
    everywhere.type, everywhere.size = tarfile.XGLTYPE, 44_000
    block = everywhere.tobuf(tarfile.USTAR_FORMAT) + b"".join(b"%d k%04d=v\n" % (11, n) for n in range(4000))
    plain = tarfile.TarInfo("f").tobuf()
    padding = bytes(-len(block) % 512)
    assert [file.path for file in unpack("a.tar", block + padding + plain + bytes(1024), UnpackLimits())] == ["f"]
    with pytest.raises(ArchiveError, match="headers for the whole archive"):
        unpack("a.tar", (block + padding) * 2 + plain + bytes(1024), UnpackLimits())


def test_a_zip_bomb_stops_at_its_bound() -> None:
    with pytest.raises(ArchiveError, match="more than"):
        unpack("x.zip", zip_of(("zeros", bytes(32 << 20), stat.S_IFREG)), SMALL)


def test_too_many_entries() -> None:
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        unpack("x.tgz", tar_of(*(member(str(number)) for number in range(101))), SMALL)
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        unpack("x.zip", zip_of(*((str(number), b"", stat.S_IFREG) for number in range(101))), SMALL)


def test_a_huge_zip_directory_is_refused_before_it_is_read() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 1 << 30, 0, 0)
    with pytest.raises(ArchiveError, match="more than 100 entries"):
        unpack("x.zip", bytes(100) + end, SMALL)


def test_zip64_is_refused() -> None:
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, 0)
    with pytest.raises(ArchiveError, match="zip64"):
        unpack("x.zip", bytes(100) + locator + end, SMALL)


def test_an_encrypted_zip_is_refused() -> None:
    data = bytearray(zip_of(("a", b"1", stat.S_IFREG)))
    directory = data.rindex(b"PK\x01\x02")
    data[6] |= 1
    data[directory + 8] |= 1
    with pytest.raises(ArchiveError, match="encrypted"):
        unpack("x.zip", bytes(data), SMALL)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar", "x.zip"])
@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x05\x06", b"\x1f\x8b", bytes(1024), b"PK" * 500])
def test_rubbish_is_refused_or_empty(name: str, data: bytes) -> None:
    if data == bytes(1024) and name != "x.zip":
        data = gzip.compress(data) if name != "x.tar" else data
        assert unpack(name, data, SMALL) == []  # an empty tar
        return
    with pytest.raises(ArchiveError, match=f"^{re.escape(name)}: "):
        unpack(name, data, SMALL)


GOOD: dict[str, Callable[[], bytes]] = {
    "x.tgz": lambda: tar_of(
        member("a", b"hello" * 50), member("b/c", b"1"), member("l", kind=tarfile.SYMTYPE, link="a")
    ),
    "x.tar": lambda: tar_of(member("a", b"hello" * 50), member("b/c", b"1"), mode="w"),
    "x.zip": lambda: zip_of(("a", b"hello" * 50, stat.S_IFREG), ("b/c", b"1", stat.S_IFREG)),
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    st.integers(0, 2000),
)
def test_damaged_archives_are_unpacked_or_refused(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(GOOD[name]())
    for position, value in changes:
        data[position % len(data)] = value
    try:
        for file in unpack(name, bytes(data[: max(1, len(data) - cut)]), SMALL):
            assert not file.path.startswith(("/", ".."))
    except ArchiveError:
        pass


def test_which_names_are_archives() -> None:
    assert all(map(is_archive, ("a.tar.gz", "a.tgz", "a.zip", "A.ZIP", "a.tar")))
    assert not any(map(is_archive, ("a.gz", "a.py", "zip", "a.tar.xz")))


class TestUploads:
    def test_parts_become_files(self) -> None:
        parts = [
            UploadedPart("main.py", b"1"),
            UploadedPart("pkg/util.py", b"2"),
            UploadedPart("d.zip", zip_of(("x", b"3", stat.S_IFREG))),
        ]
        assert [(file.path, file.data) for file in job_files(parts, SMALL)] == [
            ("main.py", b"1"),
            ("pkg/util.py", b"2"),
            ("x", b"3"),
        ]

    @pytest.mark.parametrize(
        ("names", "says"),
        [
            ([], "no files"),
            (["a", "a"], "twice"),
            (["a", "./a"], "twice"),
            (["a", "a/b"], "both a file and a directory"),
            (["a/b/c", "a"], "both a file and a directory"),
            (["../a"], "must not leave"),
            (["/a"], "must be relative"),
        ],
    )
    def test_parts_that_do_not_fit(self, names: list[str], says: str) -> None:
        with pytest.raises(UploadError, match=says):
            job_files([UploadedPart(name, b"") for name in names], SMALL)

    def test_a_file_below_a_link_is_refused(self) -> None:
        data = tar_of(member("d", kind=tarfile.SYMTYPE, link="e"), member("d/x", b"1"))
        with pytest.raises(UploadError, match="both a file and a directory"):
            job_files([UploadedPart("x.tgz", data)], SMALL)

    def test_all_parts_share_one_bound(self) -> None:
        part = bytes(600 << 10)
        with pytest.raises(UploadError, match="at most 1 MiB"):
            job_files([UploadedPart("a", part), UploadedPart("b", part)], SMALL)
