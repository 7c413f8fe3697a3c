"""How endpoints find the broker."""

from typing import cast

from starlette.requests import Request

from broker.service.broker import Broker

__all__ = ["broker_of"]


def broker_of(request: Request) -> Broker:
    """The broker that serves this application."""
    return cast(Broker, request.scope["app"].state.broker)
