"""Makes the archives that no honest tool makes."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable

TarMember = tuple[tarfile.TarInfo, bytes]


def plain(name: str, content: bytes = b"planted") -> TarMember:
    """A regular file in a tar, under any name."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def special(name: str, kind: bytes, target: str = "", device: tuple[int, int] = (1, 5)) -> TarMember:
    """A link, device, FIFO or directory in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.devmajor, info.devminor = device
    info.mode = 0o777
    return info, b""


def with_comment(member: TarMember, text: str) -> TarMember:
    """The member with a comment in a pax record."""
    member[0].pax_headers = {"comment": text}
    return member


def tar(*members: TarMember, form: int = tarfile.GNU_FORMAT) -> bytes:
    """The members as an uncompressed tar, in this order, unchecked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_gz(*members: TarMember, form: int = tarfile.GNU_FORMAT) -> Callable[[], bytes]:
    """The members as tar.gz."""
    return lambda: gzip.compress(tar(*members, form=form), 1)


def tar_of_many(count: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """So many empty members of one kind."""
    info = tarfile.TarInfo("many")
    info.type = kind
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) * count + bytes(1024), 1)


def tar_bomb(size: int) -> bytes:
    """A tar.gz of one file with this many zero bytes, a thousand times smaller."""
    info = tarfile.TarInfo("bomb")
    info.size = size
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(info.tobuf(tarfile.GNU_FORMAT))]
    block = bytes(1 << 20)
    parts += [packer.compress(block) for _ in range(size >> 20)]
    parts += [packer.compress(bytes(1024)), packer.flush()]
    return b"".join(parts)


def tar_with_header(size_field: bytes, name: bytes = b"file") -> bytes:
    """A tar.gz whose one header has this raw text as its size, with a right checksum."""
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[0:100] = name.ljust(100, b"\0")
    header[124:136] = size_field.ljust(12, b"\0")[:12]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def zipped(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """The members as zip, in this order, unchecked."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_entry(name: str, mode: int) -> zipfile.ZipInfo:
    """An entry with this Unix mode (a link, a device)."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def zip_bomb(size: int) -> bytes:
    """A zip of one file with this many zero bytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("bomb", "w") as entry,
    ):
        for _ in range(size >> 20):
            entry.write(bytes(1 << 20))
    return buffer.getvalue()


def zip_overlapping(count: int, size: int) -> bytes:
    """One compressed file of zeros that the directory names `count` times: the bomb needs no nesting."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = bytes(size)
    packed = packer.compress(content) + packer.flush()
    checksum = zlib.crc32(content)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, checksum, len(packed), size, 2, 0) + b"aa"
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, checksum, len(packed), size, 2, 0, 0, 0, 0, 0, 0)
        + b"aa"
        for _ in range(count)
    )
    body = local + packed
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(body), 0)
    return body + directory + end


def zip_lying(claimed: int, size: int) -> bytes:
    """A zip whose entry claims a size and holds another."""
    data = bytearray(zip_bomb(size))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.find(signature)
        struct.pack_into("<L", data, start + offset, claimed)
    return bytes(data)
