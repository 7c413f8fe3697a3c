"""What Prometheus scrapes. With keys: for a key of role metrics, which may do nothing else, and for admins."""

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import errors
from broker.api.exposition import registry_of
from broker.api.lean import LeanRoute
from broker.api.state import broker_of

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["health"])


@router.get(
    "/metrics",
    responses=errors(503) | {200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def metrics(request: Request) -> Response:
    """The broker's counters, histograms and gauges, as Prometheus' text or OpenMetrics (docs/operations.md)."""
    registry = getattr(request.scope["app"].state, "registry", None)
    if not isinstance(registry, CollectorRegistry):
        registry = request.scope["app"].state.registry = registry_of(broker_of(request))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type, "Cache-Control": "no-store"})
