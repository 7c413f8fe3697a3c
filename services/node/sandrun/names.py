"""Which file names we accept from strangers: in uploads, in archives, in download paths and from finished jobs."""

from __future__ import annotations

__all__ = ["UnsafeNameError", "is_keepable", "safe_path"]

MAX_PART_BYTES = 255  # the kernel's NAME_MAX
MAX_PATH_BYTES = 1024
MAX_DEPTH = 32


def is_keepable(path: str) -> bool:
    """Whether a file that a job left under this path can be kept: any name the kernel allows, if it is not too long.

    The path comes from directory listings: it is relative, and bytes that are no UTF-8 are lone surrogates in it.
    """
    return len(path.encode("utf-8", "surrogateescape")) <= MAX_PATH_BYTES


class UnsafeNameError(Exception):
    """A path that leaves its directory or cannot be shown. The text says what is wrong with it."""


def safe_path(name: str) -> str:
    """The path with `.` and empty parts removed.

    Raises UnsafeNameError unless it is relative, stays below its directory and has no control character.
    """
    shown = repr(name[:100])
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise UnsafeNameError(f"the file name {shown} is not valid UTF-8") from None
    if name.startswith("/") or "\\" in name:
        raise UnsafeNameError(f"the file name {shown} must be relative, with / between its parts")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise UnsafeNameError(f"the file name {shown} has a control character")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeNameError(f"the file name {shown} must not leave its directory")
    if not parts:
        raise UnsafeNameError(f"the file name {shown} names no file")
    if size > MAX_PATH_BYTES or len(parts) > MAX_DEPTH or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise UnsafeNameError(
            f"the file name {shown}… is too long: at most {MAX_PART_BYTES} bytes a part, {MAX_DEPTH} parts, "
            f"{MAX_PATH_BYTES} bytes in all"
        )
    return "/".join(parts)
