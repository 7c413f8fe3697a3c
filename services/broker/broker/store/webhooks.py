"""What the store keeps for webhooks."""

import json
from typing import Any, Protocol

from broker.store.reader import Reader
from broker.store.records.submission import OwedWebhook, Webhook
from broker.store.sql import webhooks
from broker.store.transaction import Transaction
from broker.store.writer import GroupWriter

__all__ = ["SqliteWebhooks", "WebhookStore"]

LOOKED_AT_A_TIME = 500
READ_AT_A_TIME = 5000


class WebhookStore(Protocol):
    """Part of a Store. Writing methods return after the change is durable. A job's submit stores its webhook."""

    async def owed(self, after: str) -> tuple[list[OwedWebhook], str | None]:
        """Some that are not delivered yet, in the order of their ids, and where to go on."""
        ...

    async def one(self, name: str) -> Webhook | None:
        """One by its id."""
        ...

    async def of_job(self, job_id: str) -> list[Webhook]:
        """Those of one job."""
        ...

    async def save(self, webhook: Webhook) -> None:
        """Write down what became of it."""
        ...

    async def drop_left(self, after: str) -> str | None:
        """Look at some, in the order of their ids, and drop settled ones whose job is gone; where to go on."""
        ...


class SqliteWebhooks:
    """See WebhookStore. Shares the store's writer and connection for short reads."""

    def __init__(self, writer: GroupWriter, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def owed(self, after: str) -> tuple[list[OwedWebhook], str | None]:
        """Some that are not delivered yet."""
        rows = self._reader.rows(webhooks.OWED, after=after, limit=READ_AT_A_TIME)
        return [OwedWebhook(*row) for row in rows], rows[-1][0] if len(rows) == READ_AT_A_TIME else None

    async def one(self, name: str) -> Webhook | None:
        """One by its id."""
        rows = self._reader.rows(webhooks.ONE, at_id=name)
        return Webhook(*rows[0]) if rows else None

    async def of_job(self, job_id: str) -> list[Webhook]:
        """Those of one job."""
        return [Webhook(*row) for row in self._reader.rows(webhooks.OF_JOB, job_id=job_id)]

    async def save(self, webhook: Webhook) -> None:
        """Write down what became of it; a settled one goes when its job has gone."""
        row = {
            "at_id": webhook.id,
            "new_state": webhook.state,
            "new_attempts": webhook.attempts,
            "new_next": webhook.next_at,
            "new_payload": webhook.payload,
            "new_deliveries": webhook.deliveries,
        }
        await self._writer.submit(lambda tx: _save(tx, row))

    async def drop_left(self, after: str) -> str | None:
        """Drop some settled ones whose job is gone."""
        return await self._writer.submit(lambda tx: _drop_left(tx, after))


def _save(tx: Transaction, row: dict[str, Any]) -> None:
    tx.run(webhooks.SAVE, row)
    tx.run(webhooks.DELETE_LEFT, {"at_id": row["at_id"]})


def _drop_left(tx: Transaction, after: str) -> str | None:
    page = tx.rows(webhooks.PAGE, {"after": after, "limit": LOOKED_AT_A_TIME})
    tx.run(webhooks.DELETE, {"ids": json.dumps([name for name, left in page if left])})
    return page[-1][0] if len(page) == LOOKED_AT_A_TIME else None
