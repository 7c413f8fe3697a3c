"""Just enough HTTP/2 to misbehave: frames, and heads without compression (RFC 9113, RFC 7541)."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["DATA", "END_HEADERS", "END_STREAM", "HEADERS", "PREFACE", "RESET", "frame", "head"]

DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
STRING_BYTES: Final = 126
"""Longest name or value here: its length fits into one byte."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def head(method: str, host: str, path: str, **headers: str) -> bytes:
    """The block of a request's head; every field is a literal that nobody remembers."""
    fields = {":method": method, ":scheme": "https", ":authority": host, ":path": path}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    assert len(text) <= STRING_BYTES, text
    return bytes([len(text)]) + text.encode("ascii")
