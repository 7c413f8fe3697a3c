"""Turning a Core statement into the text that the driver runs."""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import ClauseElement, Select, bindparam

__all__ = ["compiled", "each", "word", "words"]

_DIALECT = sqlite.dialect(paramstyle="named")


def compiled(statement: ClauseElement) -> str:
    """SQL text with :named parameters; values that are known now are written into it."""
    result = statement.compile(dialect=_DIALECT)
    known = {name: value for name, value in result.params.items() if value is not None}
    return re.sub(r":(\w+)", lambda found: _literal(known, found), str(result))


def _literal(known: dict[str, Any], found: re.Match[str]) -> str:
    value = known.get(found[1])
    if value is None:
        return found[0]
    assert isinstance(value, int | float), "texts go in through word()"
    return repr(value)


def word(value: str) -> ColumnElement[Any]:
    """A constant of ours, written into the text."""
    return literal_column(f"'{value}'")


def words(values: Iterable[str]) -> list[ColumnElement[Any]]:
    """Several constants, for IN."""
    return [word(value) for value in values]


def each(name: str) -> Select[Any]:
    """The members of the JSON list in parameter `name`, for IN: the text stays the same for any number of them."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)
