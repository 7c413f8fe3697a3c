"""The manifest of a job: parsed strictly, every value checked against what the operator allows.

A value out of range is an error that names the range. It is never adjusted silently: a job that asks for an hour and is
killed after five minutes would have to find out the hard way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandrun import languages
from sandrun.sandbox.spec import MIB, Limits
from sandrun.settings import Settings

__all__ = ["EntrypointError", "Manifest", "ManifestError", "choose_entrypoint", "choose_interpreter", "parse_manifest"]

DEFAULT_ENTRYPOINTS = ("main.py", "index.js", "run.sh")
DEFAULT_INTERPRETER = "python3"

MAX_ARGUMENTS = 1000
MAX_ARGUMENT_BYTES = 128 * 1024  # the kernel's own bound for one string (MAX_ARG_STRLEN)
MAX_TEXT_BYTES = 1024 * 1024  # of all arguments, and of the whole environment
MAX_OUTPUTS = 100
MAX_PATTERN = 256
MAX_STDIN_BYTES = 16 * MIB

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INTERPRETER_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")

INTEGER_LIMITS = ("memory_mb", "processes", "open_files", "disk_mb", "file_size_mb", "inodes", "output_mb")
OTHER_FIELDS = ("entrypoint", "interpreter", "args", "env", "outputs", "environment", "gpu", "stdin")
KNOWN_FIELDS = frozenset((*OTHER_FIELDS, *INTEGER_LIMITS, "timeout", "cpu_seconds"))


class ManifestError(Exception):
    """The manifest cannot be accepted. The text names the field and says what would be right."""


class EntrypointError(ManifestError):
    """The upload has no file to run: no node could take it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a job asks for. `entrypoint` and `interpreter` are None where the upload decides."""

    entrypoint: str | None
    interpreter: str | None
    args: tuple[str, ...]
    env: dict[str, str]
    outputs: tuple[str, ...]
    environment: str | None
    stdin: bytes
    limits: Limits
    ignored: tuple[str, ...] = ()  #: fields that mean nothing to us


def parse_manifest(text: str, settings: Settings) -> Manifest:
    """Parse and check. Raises ManifestError."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"manifest: not valid JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ManifestError("manifest: must be a JSON object")
    fields = {name: value for name, value in raw.items() if value is not None}
    _refuse_gpu(fields.get("gpu"))
    return Manifest(
        entrypoint=_text(fields, "entrypoint", 4096),
        interpreter=_interpreter(fields),
        args=_strings(fields, "args", MAX_ARGUMENTS, MAX_ARGUMENT_BYTES),
        env=_env(fields),
        outputs=_strings(fields, "outputs", MAX_OUTPUTS, MAX_PATTERN),
        environment=_environment(fields),
        stdin=(_text(fields, "stdin", MAX_STDIN_BYTES, nul=True) or "").encode(),
        limits=_limits(fields, settings),
        ignored=tuple(sorted(set(fields) - KNOWN_FIELDS)),
    )


def choose_entrypoint(manifest: Manifest, paths: Sequence[str]) -> str:
    """The file to run, given the names of the uploaded ones. Raises EntrypointError when none fits."""
    names = set(paths)
    if manifest.entrypoint is not None:
        wanted = manifest.entrypoint.removeprefix("./")
        if wanted not in names:
            raise EntrypointError(f"entrypoint: there is no file {wanted!r} in the upload")
        return wanted
    for name in DEFAULT_ENTRYPOINTS:
        if name in names:
            return name
    if len(names) == 1:
        return next(iter(names))
    raise EntrypointError(
        f"entrypoint: missing; name the file to run, or upload one of {', '.join(DEFAULT_ENTRYPOINTS)}"
    )


def choose_interpreter(manifest: Manifest, entrypoint: str, available: Mapping[str, languages.Interpreter]) -> str:
    """The interpreter to use. Raises ManifestError when this node has it not."""
    name = manifest.interpreter or languages.by_extension(entrypoint) or DEFAULT_INTERPRETER
    if name not in available:
        raise ManifestError(f"interpreter: {name!r} is not on this node; it has {', '.join(sorted(available))}")
    return name


def _limits(fields: Mapping[str, Any], settings: Settings) -> Limits:
    ranges = settings.ranges()
    values = {name: _integer(fields, name, ranges[name].default, ranges[name].maximum) for name in INTEGER_LIMITS}
    if "file_size_mb" not in fields:
        values["file_size_mb"] = values["disk_mb"]
    timeout = _number(fields, "timeout", ranges["timeout"].maximum)
    return Limits(
        timeout=ranges["timeout"].default if timeout is None else timeout,
        memory_bytes=values["memory_mb"] * MIB,
        cpu_seconds=_number(fields, "cpu_seconds", settings.max_cpu_seconds),
        processes=values["processes"],
        open_files=values["open_files"],
        file_size_bytes=values["file_size_mb"] * MIB,
        disk_bytes=values["disk_mb"] * MIB,
        inodes=values["inodes"],
        output_bytes=values["output_mb"] * MIB,
        output_keep_bytes=settings.output_keep_bytes,
    )


#: Below these nothing starts: Node.js hangs with fewer than 8 threads, an interpreter opens a handful of files.
MINIMA = {"memory_mb": 16, "processes": 1, "open_files": 16}


def _integer(fields: Mapping[str, Any], name: str, default: float, maximum: float) -> int:
    value = fields.get(name)
    if value is None:
        return int(default)
    minimum = MINIMA.get(name, 1)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not minimum <= value <= maximum:
        raise ManifestError(f"{name}: must be a whole number from {minimum} to {maximum:g} (this node's maximum)")
    return int(value)


def _number(fields: Mapping[str, Any], name: str, maximum: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= maximum:
        raise ManifestError(f"{name}: must be seconds above 0 and at most {maximum:g} (this node's maximum)")
    return float(value)


def _text(fields: Mapping[str, Any], name: str, limit: int, *, nul: bool = False) -> str | None:
    value = fields.get(name)
    return None if value is None else _checked(name, value, limit, nul=nul)


def _checked(name: str, value: Any, limit: int, *, nul: bool = False) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{name}: must be text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ManifestError(f"{name}: has a lone surrogate, which is not a character") from None
    if size > limit:
        raise ManifestError(f"{name}: must be at most {limit} bytes, not {size}")
    if "\0" in value and not nul:
        raise ManifestError(f"{name}: must not have a NUL character")
    return value


def _strings(fields: Mapping[str, Any], name: str, most: int, longest: int) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise ManifestError(f"{name}: must be a list of texts")
    if len(value) > most:
        raise ManifestError(f"{name}: must have at most {most} entries, not {len(value)}")
    texts = tuple(_checked(f"{name}[{index}]", each, longest) for index, each in enumerate(value))
    if sum(map(len, texts)) > MAX_TEXT_BYTES:
        raise ManifestError(f"{name}: must be at most {MAX_TEXT_BYTES} characters in all")
    return texts


def _env(fields: Mapping[str, Any]) -> dict[str, str]:
    value = fields.get("env", {})
    if not isinstance(value, dict):
        raise ManifestError("env: must be an object of texts")
    for name, text in value.items():
        if not ENV_NAME.fullmatch(name):
            raise ManifestError(f"env: {name[:100]!r} is not a name (letters, digits and _, not starting with a digit)")
        _checked(f"env.{name[:100]}", text, MAX_ARGUMENT_BYTES - 256)
    if sum(len(name) + len(text) for name, text in value.items()) > MAX_TEXT_BYTES:
        raise ManifestError(f"env: must be at most {MAX_TEXT_BYTES} characters in all")
    return dict(value)


def _interpreter(fields: Mapping[str, Any]) -> str | None:
    name = _text(fields, "interpreter", 64)
    if name is None:
        return None
    if not INTERPRETER_NAME.fullmatch(name):
        raise ManifestError("interpreter: must be a name such as python3, node or bash, not a path or a command")
    return languages.canonical(name)


def _environment(fields: Mapping[str, Any]) -> str | None:
    name = _text(fields, "environment", 256)
    if name:
        raise ManifestError(f"environment: there is no template {name!r} on this node; GET /environments lists them")
    return None


def _refuse_gpu(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise ManifestError("gpu: must be an object")
    if value.get("required"):
        raise ManifestError("gpu: this node has none")
