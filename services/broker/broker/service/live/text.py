"""Bytes that are meant as UTF-8, cut where a character ends."""

__all__ = ["whole_characters"]


def whole_characters(data: bytes) -> bytes:
    """`data` without a UTF-8 character at its end (at most three bytes) that has begun and not ended."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:  # continues a character that begins further back
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if needed > back else data
    return data
