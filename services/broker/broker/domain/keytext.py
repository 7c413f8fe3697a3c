"""What a key looks like: `sbk_<id>_<secret><checksum>`, letters and digits only.

The prefix lets secret scanners find keys that were published by accident, and the checksum tells a real one from a text
that only looks like it without asking the broker. The secret is 256 random bits. That is why SHA-256 is enough for what
is stored: slow hashes protect passwords, which people choose; nobody tries 2^256 secrets, at whatever speed.
"""

import hashlib
import re
import secrets
import zlib

__all__ = ["hash_of", "id_of", "new_id", "new_key"]

PREFIX = "sbk"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS = 12
_SECRET_CHARS = 43
"""62**43 > 2**256."""
_CHECK_CHARS = 6
_FORM = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{{_ID_CHARS}}})_([0-9A-Za-z]{{{_SECRET_CHARS + _CHECK_CHARS}}})")


def new_id() -> str:
    """The id of a new key: no secret; it also names the owner of jobs."""
    return "".join(secrets.choice(_DIGITS) for _ in range(_ID_CHARS))


def new_key(key_id: str) -> str:
    """A key's text with a new secret; shown once and never stored."""
    body = f"{PREFIX}_{key_id}_{_in_base62(secrets.randbits(256), _SECRET_CHARS)}"
    return body + _checksum(body)


def id_of(text: str) -> str | None:
    """The id in a key's text; None when it is not of a key's form."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-_CHECK_CHARS]) != text[-_CHECK_CHARS:]:
        return None
    return found[1]


def hash_of(text: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(body: str) -> str:
    return _in_base62(zlib.crc32(body.encode()), _CHECK_CHARS)


def _in_base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
