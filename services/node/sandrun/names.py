"""Which file names we accept from strangers: in uploads, in archives, in download paths and from finished jobs."""

from __future__ import annotations

__all__ = ["UnsafeNameError", "safe_path"]

MAX_PART_BYTES = 255  # the kernel's NAME_MAX
MAX_PATH_BYTES = 1024
MAX_DEPTH = 32


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
