"""What calls about webhooks answer."""

from broker.api.answers.base import Answer

__all__ = ["Delivery", "RedeliverAnswer", "WebhookInfo", "WebhooksAnswer"]


class Delivery(Answer):
    """One try to deliver a webhook."""

    at: str
    status: int | None
    error: str | None
    seconds: float


class WebhookInfo(Answer):
    """A webhook: owed, delivered or failed."""

    id: str
    url: str
    state: str
    attempts: int
    next_at: str | None
    deliveries: list[Delivery]


class WebhooksAnswer(Answer):
    """What became of a job's webhooks."""

    webhooks: list[WebhookInfo]


class RedeliverAnswer(Answer):
    """How many are delivered once more."""

    redelivered: int
