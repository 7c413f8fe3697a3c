"""Reading one setting from text (flag, environment) or JSON (config file). A ValueError says what would be right."""

import math
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LONGEST = 200  # characters; the broker's bound for names
_URL = re.compile(r"[!-~]+")  # what is sent in a request's first line as it is


def url(value: Any) -> str:
    """An http or https URL without credentials, query or fragment, as text without a slash at its end."""
    given = text(value)
    try:
        parts = urlsplit(given)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _URL.fullmatch(given):
        raise ValueError(f"must be a URL like http://host:8000, not {given!r}")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    _ = parts.port  # raises ValueError for a port that is none
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"holds a host name that cannot be one: {parts.hostname[:100]!r}") from error
    return given.rstrip("/")


def token(value: Any) -> str:
    """A secret in one word; what was given is not repeated in the error."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST or not value.strip().isascii():
        raise ValueError("must be a token of letters, digits and _, as broker-keys printed it")
    if not value.strip().isprintable() or " " in value.strip():
        raise ValueError("must be one word")
    return value.strip()


def number(low: float, high: float) -> Callable[[Any], float]:
    """A reader of numbers from `low` to `high`."""

    def read(value: Any) -> float:
        try:
            if isinstance(value, bool):
                raise ValueError
            found = float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}, not {value!r}")
        return int(found) if found.is_integer() else found

    return read


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: Any) -> int:
        found = number(low, high)(value)
        if not isinstance(found, int):
            raise ValueError(f"must be a whole number from {low} to {high}, not {value!r}")
        return found

    return read


def text(value: Any) -> str:
    """A line of text of 1 to LONGEST characters."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST or not value.isprintable():
        raise ValueError(f"must be a line of text, not {value!r}")
    return value.strip()


def names(value: Any) -> tuple[str, ...]:
    """A list of names, or text with commas between them."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"must be a list of names, not {value!r}")
    return tuple(_word(part, 64) for part in parts)


def labels(value: Any) -> dict[str, str]:
    """An object of text values, or text like key=value,key=value."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        if any(not sign for _, sign, _ in pairs):
            raise ValueError(f"must look like key=value,key=value, not {value!r}")
        value = {key: rest for key, _, rest in pairs}
        if len(value) < len(pairs):
            raise ValueError("must hold each key once")
    if not isinstance(value, dict):
        raise ValueError(f"must be an object of text values, not {value!r}")
    return {_word(key, 63): text(rest) for key, rest in value.items()}


def _word(value: Any, longest: int) -> str:
    """A name as the broker takes it for interpreters and labels."""
    found = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+/-]*", found) or len(found) > longest:
        raise ValueError(f"{found!r} must be at most {longest} letters, digits and . _ + - /")
    return found


def yes_no(value: Any) -> bool:
    """true or false, as JSON or as text."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = known.get(str(value).lower()) if isinstance(value, bool | str) else None
    if found is None:
        raise ValueError(f"must be true or false, not {value!r}")
    return found


def one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    """A reader of one word out of `allowed`."""

    def read(value: Any) -> str:
        if str(value).lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {value!r}")
        return str(value).lower()

    return read


def address(value: Any) -> str:
    """An address of this machine and a port, like 127.0.0.1:9464 or [::1]:9464."""
    given = text(value)
    host, _, port = given.rpartition(":")
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        raise ValueError(f"must be an address and a port like 0.0.0.0:9464, not {given!r}") from None
    return given


def folder(value: Any) -> Path:
    """The path of a folder; whether it can be written is found out when it is used."""
    try:
        return Path(text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{value!r} begins with the home folder of nobody who is known here") from error
