"""Which of a job's files are outputs: the manifest's patterns.

Patterns come from strangers, so matching must not explode: parts of a path are matched one by one with the standard
library's translation, whose stars do not backtrack, and `**` by trying each part once.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["matcher"]

ANY_PARTS = "**"

#: A pattern's parts: an expression for one part of a path, or None for any number of parts.
Parts = tuple[re.Pattern[str] | None, ...]


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is wanted by any pattern.

    `*`, `?` and `[…]` stay within one part of a path, `**` is any number of parts; `dir/` is everything below `dir`; a
    pattern without a slash matches a file of that name at any depth.
    """
    compiled = [_compile(pattern) for pattern in patterns]

    def wanted(path: str) -> bool:
        names = path.split("/")
        return any(_matches(parts, names) for parts in compiled)

    return wanted


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Parts:
    text = pattern.removeprefix("./")
    if text.endswith("/"):
        text += ANY_PARTS
    elif "/" not in text:
        text = f"{ANY_PARTS}/{text}"
    parts: list[re.Pattern[str] | None] = []
    for part in text.split("/"):
        if part != ANY_PARTS:
            parts.append(re.compile(fnmatch.translate(part)))
        elif not parts or parts[-1] is not None:
            parts.append(None)
    return tuple(parts)


def _matches(parts: Parts, names: Sequence[str]) -> bool:
    """Whether all of `names` is matched by all of `parts`: at each part, the places in `names` where it may begin."""
    places = {0}
    for part in parts:
        if part is None:
            places = set(range(min(places), len(names) + 1))
        else:
            places = {place + 1 for place in places if place < len(names) and part.match(names[place])}
        if not places:
            return False
    return len(names) in places
