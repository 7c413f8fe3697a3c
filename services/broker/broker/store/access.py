"""What the store keeps for keys, owners and usage."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from broker.store.ops import keys as ops
from broker.store.reader import Reader
from broker.store.records.access import Key, UsageRow
from broker.store.records.attempt import Ref
from broker.store.sql import keys
from broker.store.writer import GroupWriter

__all__ = ["AccessStore", "SqliteAccess"]


class AccessStore(Protocol):
    """Part of a Store. Writing methods return after the change is durable."""

    async def keys(self) -> list[Key]:
        """All keys, the oldest first."""
        ...

    async def add(self, key: Key) -> None:
        """Store a new key."""
        ...

    async def change(self, key: Key) -> None:
        """Store what changed of a key."""
        ...

    async def touch(self, used: Mapping[str, float]) -> None:
        """Write down when keys (by id) were used last."""
        ...

    async def evict(self, node_ids: Sequence[str], now: float, result_ttl: float, by: str | None = None) -> list[Ref]:
        """End nodes' sessions and take their jobs back; `by`: the key that said so."""
        ...

    def owner_of(self, job_id: str) -> tuple[str | None] | None:
        """(owner,) of a job that is there or was deleted of late; None when it is unknown."""
        ...

    async def usage(self, first: str, last: str, owner: str | None) -> list[UsageRow]:
        """What was used from day to day (both included) by one owner, or by all."""
        ...


class SqliteAccess:
    """See AccessStore. Shares the store's writer and connection for short reads."""

    def __init__(self, writer: GroupWriter, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def keys(self) -> list[Key]:
        """All keys, the oldest first."""
        return [Key(*row) for row in self._reader.rows(keys.KEYS)]

    async def add(self, key: Key) -> None:
        """Store a new key."""
        await self._writer.submit(lambda tx: ops.add(tx, key), urgent=True)

    async def change(self, key: Key) -> None:
        """Store what changed of a key."""
        await self._writer.submit(lambda tx: ops.change(tx, key), urgent=True)

    async def touch(self, used: Mapping[str, float]) -> None:
        """Write down when keys were used last."""
        await self._writer.submit(lambda tx: ops.touch(tx, used), urgent=True)

    async def evict(self, node_ids: Sequence[str], now: float, result_ttl: float, by: str | None = None) -> list[Ref]:
        """End nodes' sessions and take their jobs back."""
        return await self._writer.submit(lambda tx: ops.evict(tx, node_ids, now, result_ttl, by), urgent=True)

    def owner_of(self, job_id: str) -> tuple[str | None] | None:
        """(owner,) of a job that is there or was deleted of late."""
        for statement in (keys.OWNER_OF, keys.OWNER_OF_DELETED):
            found = self._reader.rows(statement, job_id=job_id)
            if found:
                return (found[0][0],)
        return None

    async def usage(self, first: str, last: str, owner: str | None) -> list[UsageRow]:
        """What was used from day to day by one owner, or by all."""
        if owner is None:
            rows = self._reader.rows(keys.USAGE, first=first, last=last)
        else:
            rows = self._reader.rows(keys.USAGE_OF, first=first, last=last, owner=owner)
        return [UsageRow(*row) for row in rows]
