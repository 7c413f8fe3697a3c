"""Classes that some nodes are not to have: a verified job goes on to nodes that have not given it a result yet.

Such a class's key is the key of the class that the job was submitted with, and behind it the barred nodes. So the jobs
that a node is barred from lie in other ranges of the claim index than those it can have, and its claims never pass
over a row; nor do claims of other classes cost more. A key is JSON without control characters, so a line's end parts
the two.
"""

from collections.abc import Iterable
from functools import lru_cache

__all__ = ["barred_from", "barring", "base_of"]

_MARK = "\n"
_NOBODY: frozenset[str] = frozenset()


def base_of(class_key: str) -> str:
    """The class as it was submitted: what its jobs ask of any node."""
    return class_key.partition(_MARK)[0]


def barring(class_key: str, node_ids: Iterable[str]) -> str:
    """The class of jobs that ask for the same as those of `class_key`, on another node than these."""
    return _MARK.join([base_of(class_key), *sorted(set(node_ids))])


def barred_from(class_key: str) -> frozenset[str]:
    """Nodes that are not to have the class's jobs."""
    return _split(class_key) if _MARK in class_key else _NOBODY


@lru_cache(maxsize=4096)
def _split(class_key: str) -> frozenset[str]:
    return frozenset(class_key.split(_MARK)[1:])
