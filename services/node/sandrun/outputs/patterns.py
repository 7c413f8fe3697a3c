"""Which of a job's files are outputs: the manifest's patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["matcher"]


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is wanted by any pattern.

    `*` and `?` stay within one part of a path, `**` crosses parts; `dir/` is everything below `dir`; a pattern without
    a slash matches a file of that name at any depth.
    """
    expressions = [_compile(pattern) for pattern in patterns]
    return lambda path: any(expression.fullmatch(path) for expression in expressions)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    text = pattern.removeprefix("./")
    if text.endswith("/"):
        text += "**"
    elif "/" not in text:
        text = f"**/{text}"
    return re.compile(_translate(text), re.DOTALL)


def _translate(text: str) -> str:
    # Each wildcard is atomic enough that no pattern backtracks for long: a run of stars is one.
    parts = []
    position = 0
    for token in re.finditer(r"\*\*/|\*+|\?|\[!?[^\]/]+\]", text):
        parts.append(re.escape(text[position : token.start()]))
        position = token.end()
        found = token.group()
        if found == "**/":
            parts.append("(?:[^/]+/)*")
        elif found.startswith("*"):
            parts.append(".*" if len(found) > 1 else "[^/]*")
        elif found == "?":
            parts.append("[^/]")
        else:
            parts.append(_character_class(found))
    parts.append(re.escape(text[position:]))
    return "".join(parts)


def _character_class(found: str) -> str:
    negated = found.startswith("[!")
    inner = re.escape(found[2 if negated else 1 : -1]).replace(r"\-", "-")
    try:
        re.compile(f"[{inner}]")
    except re.error:  # a range the wrong way round: nothing special then
        return re.escape(found)
    return f"[^/{inner}]" if negated else f"[{inner}]"
