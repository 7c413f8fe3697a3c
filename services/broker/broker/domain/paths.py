"""Which names files may be submitted under: those that sandrun accepts, so that no job finds out on a node.

The same rules stand in sandrun/names.py and sandrun/jobs/uploads.py: the two never import each other.
"""

from collections.abc import Iterable

__all__ = ["check_tree", "safe_path"]

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_DEPTH = 32


def safe_path(name: str) -> str:
    """The path without `.` and empty parts. ValueError says what is wrong with it."""
    if name.startswith("/") or "\\" in name:
        raise ValueError("must be a relative path inside the job's folder, with / between its parts")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise ValueError("has a control character")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ValueError("must be a relative path inside the job's folder")
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise ValueError(f"has a part of more than {MAX_PART_BYTES} bytes")
    if len(parts) > MAX_DEPTH or len(name.encode()) > MAX_PATH_BYTES:
        raise ValueError(f"is too long: at most {MAX_DEPTH} parts and {MAX_PATH_BYTES} bytes")
    return "/".join(parts)


def check_tree(paths: Iterable[str]) -> None:
    """ValueError when two files have one name, or one's name is another's folder. `paths` as safe_path gives them."""
    files: set[str] = set()
    for path in paths:
        if path in files:
            raise ValueError(f"{path[:200]!r} is there twice")
        files.add(path)
    for path in files:
        while path := path.rpartition("/")[0]:
            if path in files:
                raise ValueError(f"{path[:200]!r} is both a file and a folder")
