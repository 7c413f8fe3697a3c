"""What the store keeps for webhooks."""

from typing import Protocol

from broker.store.reader import Reader
from broker.store.records.submission import Webhook
from broker.store.sql import webhooks
from broker.store.writer import GroupWriter

__all__ = ["SqliteWebhooks", "WebhookStore"]

FORGET_AT_A_TIME = 500


class WebhookStore(Protocol):
    """Part of a Store. Writing methods return after the change is durable. A job's submit stores its webhook."""

    async def owed(self) -> list[Webhook]:
        """All that are not delivered yet."""
        ...

    async def of_job(self, job_id: str) -> list[Webhook]:
        """Those of one job."""
        ...

    async def save(self, webhook: Webhook) -> None:
        """Write down what became of it."""
        ...

    async def forget(self) -> None:
        """Drop settled ones whose job is gone, some at a time."""
        ...


class SqliteWebhooks:
    """See WebhookStore. Shares the store's writer and connection for short reads."""

    def __init__(self, writer: GroupWriter, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def owed(self) -> list[Webhook]:
        """All that are not delivered yet."""
        return [Webhook(*row) for row in self._reader.rows(webhooks.OWED)]

    async def of_job(self, job_id: str) -> list[Webhook]:
        """Those of one job."""
        return [Webhook(*row) for row in self._reader.rows(webhooks.OF_JOB, job_id=job_id)]

    async def save(self, webhook: Webhook) -> None:
        """Write down what became of it."""
        row = {
            "at_id": webhook.id,
            "new_state": webhook.state,
            "new_attempts": webhook.attempts,
            "new_next": webhook.next_at,
            "new_payload": webhook.payload,
            "new_deliveries": webhook.deliveries,
        }
        await self._writer.submit(lambda tx: tx.run(webhooks.SAVE, row))

    async def forget(self) -> None:
        """Drop settled ones whose job is gone."""
        await self._writer.submit(lambda tx: tx.run(webhooks.FORGET, {"limit": FORGET_AT_A_TIME}))
