"""What the broker says of itself to programs, in the words of sandrun."""

from starlette.requests import Request
from starlette.responses import Response

from broker import __version__
from broker.api.render import Json
from broker.api.state import broker_of

__all__ = ["service_info"]


def service_info(request: Request) -> Response:
    """Name, version, and what the pool's live nodes can run."""
    broker = broker_of(request)
    interpreters = set().union(*(group.profile.interpreters for group in broker.queries.live_groups()))
    return Json({"name": "sandrun-broker", "version": __version__, "interpreters": sorted(interpreters)})
