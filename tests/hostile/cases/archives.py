"""Uploaded archives that unpack to somewhere else, to too much, or to something that is no file.

An archive of this kind is refused as a whole, or what is harmless of it is unpacked inside the job's own directory; the
program then looks for anything that got out. Bombs are refused, and fast.
"""

import stat
import tarfile

from hostile import packing
from hostile.model import COMPLETED, REFUSED, Case, Outcome
from hostile.packing import plain, special, tar_gz, with_comment

LOOK_AROUND = {
    "bash": """
        for path in ../escaped ../../escaped /tmp/escaped /escaped /etc/escaped /usr/escaped /var/tmp/escaped /dev/shm/escaped; do
            [ -e $path ] && echo REACH"ED" $path
        done
        for name in * .[!.]*; do
            [ -L "$name" ] || continue
            case $(readlink "$name") in /*|*..*) echo REACH"ED" link "$name";; esac
        done
        cat ./* 2>/dev/null | grep -a "root:""x:0" && echo REACH"ED" content
        for name in *; do [ -b "$name" -o -c "$name" -o -p "$name" ] && echo REACH"ED" device "$name"; done
        find . -perm /6000 | grep . && echo REACH"ED" setuid
        echo contained
    """,
}
MAYBE = (REFUSED, COMPLETED)


def refused_quickly(outcome: Outcome) -> str | None:
    """A bomb must not be unpacked to find out that it is one."""
    return f"refused only after {outcome.seconds:.1f} s" if outcome.seconds > 10 else None


def refusal_explained(outcome: Outcome) -> str | None:
    """A refusal names what is wrong with the archive."""
    return None if outcome.verdict != REFUSED or len(outcome.refusal) > 10 else f"no reason given: {outcome.refusal!r}"


def archive(name: str, why: str, upload: str, build: object, verdict: str | tuple[str, ...] = MAYBE) -> Case:
    """A case around one archive."""
    assert callable(build)
    checks = (refused_quickly, refusal_explained)
    return Case(
        name=name, why=why, programs=LOOK_AROUND, verdict=verdict, uploads={upload: build}, checks=checks, timeout=10
    )


LINK, HARD, CHAR, BLOCK, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE

CASES = [
    # Out of the directory.
    archive("tar-parent", "a name that climbs", "a.tar.gz", tar_gz(plain("../escaped"), plain("../../tmp/escaped"))),
    archive("tar-absolute", "a name from the root", "a.tar.gz", tar_gz(plain("/tmp/escaped"), plain("/etc/escaped"))),
    archive("tar-hidden-parent", "a name that climbs in its middle", "a.tgz", tar_gz(plain("a/b/../../../escaped"))),
    archive("tar-dots-only", "the directory itself as a file", "a.tgz", tar_gz(plain("."), plain(".."), plain("./"))),
    archive(
        "tar-link-out", "a link to the container's files", "a.tar.gz", tar_gz(special("passwd", LINK, "/etc/passwd"))
    ),
    archive(
        "tar-through-link",
        "a link to a directory, then a file through it",
        "a.tar.gz",
        tar_gz(special("d", LINK, "/tmp"), plain("d/escaped")),
    ),
    archive(
        "tar-through-link-chain",
        "links that are each inside and together lead out",
        "a.tar.gz",
        tar_gz(special("a", LINK, "."), special("a/b", LINK, ".."), special("c", LINK, "b/.."), plain("c/escaped")),
    ),
    archive(
        "tar-link-then-deep-link",
        "a link whose target is only harmless when read as text",
        "a.tar.gz",
        tar_gz(special("x/y", LINK, ".."), special("z", LINK, "x/y/.."), plain("z/escaped")),
    ),
    archive(
        "tar-hard-link-out",
        "a hard link to the container's files",
        "a.tar.gz",
        tar_gz(special("p", HARD, "/etc/passwd")),
    ),
    archive(
        "tar-hard-link-through-link",
        "a hard link to an earlier link",
        "a.tar.gz",
        tar_gz(special("l", LINK, "/etc/passwd"), special("h", HARD, "l")),
    ),
    archive(
        "tar-link-replaced",
        "the same name as a link and then as a file",
        "a.tar.gz",
        tar_gz(special("f", LINK, "/tmp/escaped"), plain("f")),
    ),
    archive(
        "tar-long-name-parent",
        "the name in an extension header instead of the header",
        "a.tar.gz",
        tar_gz(plain("x/" * 80 + "../" * 90 + "escaped"), form=tarfile.GNU_FORMAT),
    ),
    archive(
        "tar-pax-parent",
        "the name in a pax record",
        "a.tar.gz",
        tar_gz(plain("x/" * 80 + "../" * 90 + "escaped"), form=tarfile.PAX_FORMAT),
    ),
    archive("zip-parent", "a name that climbs", "a.zip", lambda: packing.zipped([("../escaped", b"x")])),
    archive("zip-absolute", "a name from the root", "a.zip", lambda: packing.zipped([("/tmp/escaped", b"x")])),
    archive(
        "zip-backslash",
        "separators of another system",
        "a.zip",
        lambda: packing.zipped([("..\\..\\escaped", b"x"), ("C:\\escaped", b"x"), ("\\\\host\\share\\escaped", b"x")]),
    ),
    archive(
        "zip-link-out",
        "a link in a zip",
        "a.zip",
        lambda: packing.zipped([(packing.zip_entry("passwd", stat.S_IFLNK | 0o777), b"/etc/passwd")]),
    ),
    archive(
        "zip-through-link",
        "a link to a directory, then a file through it",
        "a.zip",
        lambda: packing.zipped(
            [(packing.zip_entry("d", stat.S_IFLNK | 0o777), b"/tmp"), ("d/escaped", b"x")],
        ),
    ),
    # Not files.
    archive("tar-character-device", "an endless file", "a.tar.gz", tar_gz(special("zero", CHAR, device=(1, 5)))),
    archive("tar-block-device", "the machine's disk", "a.tar.gz", tar_gz(special("disk", BLOCK, device=(8, 0)))),
    archive("tar-fifo", "a file that blocks its reader", "a.tar.gz", tar_gz(special("fifo", FIFO))),
    archive(
        "zip-device",
        "a device in a zip",
        "a.zip",
        lambda: packing.zipped([(packing.zip_entry("zero", stat.S_IFCHR | 0o666), b"")]),
    ),
    archive(
        "zip-setuid",
        "a program with another user's rights",
        "a.zip",
        lambda: packing.zipped([(packing.zip_entry("tool", stat.S_IFREG | 0o6755), b"#!/bin/sh\n")]),
    ),
    # Too much.
    archive("tar-bomb", "300 MB of zeros", "a.tar.gz", lambda: packing.tar_bomb(300 << 20), REFUSED),
    archive("zip-bomb", "300 MB of zeros", "a.zip", lambda: packing.zip_bomb(300 << 20), REFUSED),
    archive(
        "zip-overlapping",
        "one file named 2,000 times",
        "a.zip",
        lambda: packing.zip_overlapping(2000, 4 << 20),
        REFUSED,
    ),
    archive(
        "zip-lying-size",
        "more inside than the directory says",
        "a.zip",
        lambda: packing.zip_lying(10, 50 << 20),
        REFUSED,
    ),
    archive("zip-huge-claim", "4 GB claimed, little inside", "a.zip", lambda: packing.zip_lying(0xFFFFFFFE, 1 << 20)),
    archive("tar-many", "60,000 empty files", "a.tar.gz", lambda: packing.tar_of_many(60_000), REFUSED),
    archive(
        "zip-many",
        "60,000 empty files",
        "a.zip",
        lambda: packing.zipped((f"f{i}", b"") for i in range(60_000)),
        REFUSED,
    ),
    archive(
        "gzip-of-nothing-but-headers",
        "an endless run of extension headers without a file",
        "a.tar.gz",
        lambda: packing.tar_of_many(200_000, tarfile.GNUTYPE_LONGNAME),
        REFUSED,
    ),
    archive(
        "pax-header-of-megabytes",
        "a comment larger than any file",
        "a.tar.gz",
        tar_gz(with_comment(plain("f"), "c" * (3 << 20)), form=tarfile.PAX_FORMAT),
    ),
    # Broken or ambiguous.
    archive("tar-negative-size", "a size below zero", "a.tar.gz", lambda: packing.tar_with_header(b"-0000000001")),
    archive(
        "tar-base256-size",
        "a size of 2^80",
        "a.tar.gz",
        lambda: packing.tar_with_header(b"\x80" + b"\xff" * 11),
        REFUSED,
    ),
    archive(
        "tar-terabyte-claimed",
        "a size that never comes",
        "a.tar.gz",
        lambda: packing.tar_with_header(b"77777777777"),
        REFUSED,
    ),
    archive(
        "gzip-cut-off",
        "half an archive",
        "a.tar.gz",
        lambda: tar_gz(plain("f", bytes(range(256)) * 99))()[:-60],
        REFUSED,
    ),
    archive("zip-cut-off", "half an archive", "a.zip", lambda: packing.zipped([("f", b"x" * 999)])[:-30], REFUSED),
    archive(
        "not-an-archive", "a name that promises what the content is not", "a.zip", lambda: b"\x7fELF" * 99, REFUSED
    ),
    archive(
        "not-a-gzip", "a name that promises what the content is not", "a.tar.gz", lambda: b"#!/bin/sh\n" * 99, REFUSED
    ),
    archive("empty-archive", "no content at all", "a.tar.gz", lambda: b""),
    archive(
        "nested",
        "archives in archives are files like others",
        "a.zip",
        lambda: packing.zipped([("b.zip", packing.zip_bomb(40 << 20))]),
    ),
    archive("duplicates", "one name twice", "a.tar.gz", tar_gz(plain("f", b"one"), plain("f", b"two"))),
    archive(
        "file-and-directory", "one name as a file and as a directory", "a.tar.gz", tar_gz(plain("f"), plain("f/g"))
    ),
    archive(
        "overwrites-the-program",
        "the archive brings its own main.sh",
        "a.tar.gz",
        tar_gz(plain("main.sh", b"echo contained\n")),
    ),
    archive("name-too-long", "a name of 5,000 characters", "a.tar.gz", tar_gz(plain("n" * 5000))),
    archive("path-too-deep", "a thousand directories", "a.tar.gz", tar_gz(plain("d/" * 1000 + "f"))),
    archive(
        "odd-names",
        "names with control characters and invalid UTF-8",
        "a.tar.gz",
        tar_gz(plain("new\nline"), plain("bad\udcff"), plain("\x1b[31m"), plain(" "), plain("-rf")),
    ),
    # The name of the part itself.
    *(
        Case(
            name=f"part-name-{label}",
            why="the file name of an upload is text from a stranger like any other",
            programs=LOOK_AROUND,
            verdict=MAYBE,
            uploads={name: lambda: b"planted"},
            checks=(refusal_explained,),
            timeout=10,
        )
        for label, name in (
            ("parent", "../escaped"),
            ("absolute", "/tmp/escaped"),
            ("deep-parent", "a/../../../escaped"),
            ("backslash", "..\\escaped"),
            ("dot", "."),
            ("dots", ".."),
            ("slash", "/"),
            ("long", "n" * 5000),
            ("control", "a\x01b"),
            ("percent", "%2e%2e%2fescaped"),
            ("null-like", "escaped%00.txt"),
            ("trailing-slash", "escaped/"),
            ("double-slash", "//tmp//escaped"),
            ("deep", "d/" * 500 + "f"),
            ("program-as-directory", "main.sh/x"),
        )
    ),
]
