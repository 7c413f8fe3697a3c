"""What an operation works with: statements inside the group's transaction, and a list of what it changed."""

import json
import random
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from broker.store.changes import Changes

__all__ = ["Row", "Transaction", "id_list"]

Row = tuple[Any, ...]


class Transaction:
    """One operation's view of the write connection. It never commits: its group does."""

    __slots__ = ("_connection", "changes", "jitter")

    def __init__(self, connection: sqlite3.Connection, jitter: random.Random) -> None:
        self._connection = connection
        self.changes = Changes()
        self.jitter = jitter
        """Where backoffs take their randomness from."""

    def run(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Execute and say how many rows were changed."""
        return self._connection.execute(sql, parameters).rowcount

    def insert(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Execute an INSERT and say the new row's integer key."""
        key = self._connection.execute(sql, parameters).lastrowid
        assert key is not None
        return key

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Execute and read everything: a statement left half read would hold the transaction open."""
        return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Mapping[str, Any]) -> Row | None:
        """The first row, if any."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None


def id_list(numbers: Iterable[int]) -> str:
    """Row numbers as the JSON list that `each()` statements take."""
    return json.dumps(list(numbers))
