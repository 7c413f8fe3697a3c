"""Archives that are made to hurt whoever looks into them: refused in a sentence, in little memory."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest

from broker.errors import InvalidFieldError
from broker.service.peek import Contents, peek

MIB = 1024 * 1024


def looked_into(name: str, data: bytes) -> Contents:
    contents = Contents()
    peek(name, io.BytesIO(data), contents)
    return contents


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def squeezed(*blocks: bytes) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as target:
        for block in blocks:
            target.write(block)
    return packed.getvalue()


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def record(keyword: bytes, value: bytes) -> bytes:
    length = len(keyword) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length, keyword, value)


def zip_of(method: int = zipfile.ZIP_DEFLATED, content: bytes = b"{}") -> bytearray:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("job.json", content)
    return bytearray(packed.getvalue())


def encrypted_zip() -> bytes:
    data = zip_of(zipfile.ZIP_STORED)
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def broken_lzma_zip() -> bytes:
    data = zip_of(zipfile.ZIP_LZMA, b"{}" * 500)
    data[45:60] = bytes(byte ^ 0xFF for byte in data[45:60])
    return bytes(data)


def directory(entries: int) -> bytes:
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    return (one + b"a") * entries


def end_of_zip(directory_bytes: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, directory_bytes, 0, 0)


def zip_with_many_entries() -> bytes:
    found = directory(100_000)
    return found + end_of_zip(len(found))


def zip64() -> bytes:
    """The 32-bit end says that the directory is small; the 64-bit one, which readers believe, that it is huge."""
    found = directory(100_000)
    counts = (len(found) // 47,) * 2
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *counts, len(found), 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(found), 1)
    return found + end64 + locator + end_of_zip(100)


def sparse_map() -> bytes:
    """A header of a sparse file whose list of pieces goes on and on."""
    entry = bytearray(header(tarfile.GNUTYPE_SPARSE, 1))
    entry[482] = 1  # an extension follows
    entry[148:156] = b"%06o\0 " % (sum(entry[:148]) + 8 * 32 + sum(entry[156:]))
    more = (b"%011o\0%011o\0" % (1, 1)) * 21 + b"\1" + bytes(7)
    return squeezed(bytes(entry), *[more * 2048] * 60)


def pax_sparse() -> bytes:
    records = padded(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0"))
    size = len(records.rstrip(b"\0"))
    return squeezed(header(b"x", size), records, header(b"0", 60 * MIB), b"99999999\n", *[b"1\n" * (MIB // 2)] * 60)


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "encrypted": ("x.zip", encrypted_zip),
    "broken lzma": ("x.zip", broken_lzma_zip),
    "many entries": ("x.zip", zip_with_many_entries),
    "zip64": ("x.zip", zip64),
    "nested headers": ("x.tar", lambda: (header(b"L", 4) + padded(b"abc\0")) * 1500 + header(b"0", 0)),
    "huge pax header": ("x.tgz", lambda: squeezed(header(b"x", 100 * MIB), *[bytes(MIB)] * 100)),
    "huge long name": ("x.tgz", lambda: squeezed(header(b"L", 100 * MIB), *[b"a" * MIB] * 100)),
    "many global headers": (
        "x.tgz",
        lambda: squeezed(
            *[
                block
                for n in range(5)
                for data in [b"".join(record(b"k%d.%d" % (n, m), b"v") for m in range(10_000))]
                for block in (header(b"g", len(data)), padded(data))
            ]
        ),
    ),
    "many directories": ("x.tgz", lambda: squeezed(*[header(b"5", 0, "d/")] * 20_000)),
    "sparse": ("x.tgz", sparse_map),
    "pax sparse": ("x.tgz", pax_sparse),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_in_little_memory(what: str) -> None:
    name, make = HOSTILE[what]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidFieldError) as refused:
            looked_into(name, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.field == "files"
    assert peak < 32 * MIB


def test_ordinary_archives_of_every_tool_are_read() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", format=form, pax_headers={"comment": "x"}) as archive:
            for path in ("main.py", "d/" * 8 + "n" * 90, "./job.json"):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mtime = 2, 1.5
                archive.addfile(entry, io.BytesIO(b"{}"))
        found = looked_into("x.tar.gz", packed.getvalue())
        assert found.names == {"main.py", "d/" * 8 + "n" * 90, "job.json"}
        assert found.job_json == b"{}"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert looked_into("x.zip", bytes(zip_of(method)) + b"").job_json == b"{}"
    assert looked_into("x.zip", bytes(zip_of(zipfile.ZIP_LZMA).replace(b"job.json", b"jobs.txt"))).names == {"jobs.txt"}
