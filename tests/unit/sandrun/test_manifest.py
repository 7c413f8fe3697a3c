"""A manifest is taken as it is or refused with a sentence that names the field and what would be right."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandrun.jobs.manifest import ManifestError, choose_entrypoint, choose_interpreter, parse_manifest
from sandrun.sandbox.spec import MIB
from unit.sandrun.builders import SETTINGS, a_manifest, a_platform


def test_nothing_given_means_the_defaults() -> None:
    manifest = a_manifest()
    assert (manifest.entrypoint, manifest.interpreter, manifest.args, manifest.env) == (None, None, (), {})
    assert manifest.limits.timeout == 300
    assert manifest.limits.memory_bytes == 512 * MIB
    assert manifest.limits.cpu_seconds is None
    assert manifest.limits.file_size_bytes == manifest.limits.disk_bytes


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("timeout", 3601, "at most 3600"),
        ("timeout", 0, "above 0"),
        ("timeout", -1, "above 0"),
        ("timeout", "60", "must be seconds"),
        ("timeout", True, "must be seconds"),
        ("timeout", 10**400, "at most 3600"),
        ("cpu_seconds", 14401, "at most 14400"),
        ("memory_mb", 2049, "from 16 to 2048"),
        ("memory_mb", 15, "from 16 to 2048"),
        ("memory_mb", 100.5, "whole number"),
        ("memory_mb", 10**400, "from 16 to 2048"),
        ("memory_mb", [512], "whole number"),
        ("processes", 257, "from 1 to 256"),
        ("open_files", 2000, "from 16 to 1024"),
        ("disk_mb", 513, "from 1 to 512"),
        ("file_size_mb", 0, "from 1 to 512"),
        ("inodes", 10**9, "from 1 to 131072"),
        ("output_mb", 1025, "from 1 to 1024"),
        ("args", "x", "list"),
        ("args", [1], r"args\[0\]: must be text"),
        ("args", ["a\0b"], "NUL"),
        ("args", ["x" * 200_000], "at most 131072 bytes"),
        ("args", ["x"] * 1001, "at most 1000 entries"),
        ("args", ["x" * 100_000] * 20, "characters in all"),
        ("env", ["A=1"], "object"),
        ("env", {"1A": "x"}, "not a name"),
        ("env", {"A B": "x"}, "not a name"),
        ("env", {"": "x"}, "not a name"),
        ("env", {"A": 1}, "env.A: must be text"),
        ("outputs", "*.csv", "list"),
        ("entrypoint", 5, "text"),
        ("entrypoint", "a\0b", "NUL"),
        ("interpreter", "/bin/sh", "not a path"),
        ("interpreter", "python3; rm -rf /", "not a path"),
        ("stdin", 5, "text"),
        ("environment", "ml", "no template"),
        ("gpu", {"required": True}, "has none"),
        ("gpu", 1, "object"),
    ],
)
def test_what_is_wrong_is_said(field: str, value: Any, says: str) -> None:
    with pytest.raises(ManifestError, match=says) as error:
        a_manifest(**{field: value})
    assert str(error.value).startswith(field)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "[" * 100_000, "1" * 5000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="manifest: "):
        parse_manifest(text, SETTINGS)


def test_numbers_that_json_does_not_have_are_refused() -> None:
    for text in ('{"timeout": NaN}', '{"timeout": Infinity}', '{"memory_mb": NaN}', '{"memory_mb": -Infinity}'):
        with pytest.raises(ManifestError):
            parse_manifest(text, SETTINGS)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"args\[0\]: has a lone surrogate"):
        parse_manifest(r'{"args": ["\ud800"]}', SETTINGS)


def test_values_in_range_are_taken_as_they_are() -> None:
    manifest = a_manifest(
        timeout=0.5, memory_mb=64.0, cpu_seconds=2, processes=8, stdin="a\0é", gpu={"required": False}
    )
    assert (manifest.limits.timeout, manifest.limits.cpu_seconds, manifest.limits.processes) == (0.5, 2.0, 8)
    assert manifest.limits.memory_bytes == 64 * MIB
    assert manifest.stdin == b"a\0\xc3\xa9"


def test_null_is_as_if_not_given_and_unknown_fields_are_told() -> None:
    manifest = a_manifest(timeout=None, args=None, name="x", zone="y")
    assert manifest.limits.timeout == 300
    assert manifest.ignored == ("name", "zone")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_is_taken_or_refused(value: Any) -> None:
    for field in ("timeout", "memory_mb", "args", "env", "outputs", "stdin", "gpu", "entrypoint", "interpreter"):
        with contextlib.suppress(ManifestError):
            parse_manifest(json.dumps({field: value}), SETTINGS)


@pytest.mark.parametrize(
    ("wanted", "paths", "chosen"),
    [
        (None, ["main.py", "run.sh"], "main.py"),
        (None, ["index.js", "util.js"], "index.js"),
        (None, ["run.sh", "x.txt"], "run.sh"),
        (None, ["only.rb"], "only.rb"),
        ("src/app.py", ["src/app.py", "main.py"], "src/app.py"),
        ("./app.py", ["app.py"], "app.py"),
    ],
)
def test_the_entrypoint(wanted: str | None, paths: list[str], chosen: str) -> None:
    assert choose_entrypoint(a_manifest(entrypoint=wanted), paths) == chosen


@pytest.mark.parametrize(
    ("wanted", "paths"), [("x.py", ["main.py"]), (None, ["a.py", "b.py"]), ("../main.py", ["main.py"])]
)
def test_no_entrypoint(wanted: str | None, paths: list[str]) -> None:
    with pytest.raises(ManifestError, match="entrypoint: "):
        choose_entrypoint(a_manifest(entrypoint=wanted), paths)


@pytest.mark.parametrize(
    ("wanted", "entrypoint", "chosen"),
    [
        (None, "a.py", "python3"),
        (None, "a.mjs", "node"),
        (None, "a.sh", "sh"),
        (None, "a.bash", "bash"),
        (None, "a.RB", "ruby"),
        (None, "a.pl", "perl"),
        (None, "data", "python3"),
        ("python", "a.rb", "python3"),
        ("nodejs", "a", "node"),
    ],
)
def test_the_interpreter(wanted: str | None, entrypoint: str, chosen: str) -> None:
    assert choose_interpreter(a_manifest(interpreter=wanted), entrypoint, a_platform().interpreters) == chosen


def test_an_interpreter_that_is_not_here() -> None:
    with pytest.raises(ManifestError, match="'cobol' is not on this node; it has bash, node"):
        choose_interpreter(a_manifest(interpreter="cobol"), "x", a_platform().interpreters)
