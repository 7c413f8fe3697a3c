"""Names from strangers: relative, below their directory, showable; everything else is refused."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandrun.names import UnsafeNameError, safe_path


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("main.py", "main.py"),
        ("a/b/c.txt", "a/b/c.txt"),
        ("./a//b", "a/b"),
        ("-rf", "-rf"),
        ("ü/漢", "ü/漢"),
        ("a b", "a b"),
    ],
)
def test_accepted(name: str, safe: str) -> None:
    assert safe_path(name) == safe


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "/", "//", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a\0b", "a\nb", "\x7f", "..\\x", "C:\\x",
        "a" * 256, "/".join("a" * 40), "x/" * 600 + "y", "\ud800",
    ],
)  # fmt: skip
def test_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        safe_path(name)


@given(st.text())
def test_whatever_is_accepted_stays_below_its_directory(name: str) -> None:
    try:
        path = safe_path(name)
    except UnsafeNameError:
        return
    assert posixpath.normpath(posixpath.join("/base", path)).startswith("/base/")
    assert safe_path(path) == path
