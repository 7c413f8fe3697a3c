"""Every route has a rule: what FastAPI serves, what the front door serves, and what is mounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from api.rig import Api, running
from broker.api.access import RULES, WEBSOCKET, Rule, rule_for
from broker.api.app import FrontDoor, make_app
from broker.main import build
from broker.settings import load_settings

pytestmark = pytest.mark.anyio


def served(door: FrontDoor) -> Iterator[tuple[str, str]]:
    """(method, path) of everything that an application serves."""
    for route in door.app.routes:
        included = getattr(route, "original_router", None)
        for one in included.routes if included is not None else [route]:
            yield from _of_route(one)


def _of_route(route: BaseRoute) -> Iterator[tuple[str, str]]:
    if isinstance(route, WebSocketRoute) or type(route).__name__ == "APIWebSocketRoute":
        yield WEBSOCKET, str(getattr(route, "path", ""))
    elif isinstance(route, Mount):
        yield "MOUNT", route.path
    else:
        assert isinstance(route, Route), route
        for method in route.methods or ():
            yield method, route.path


def test_every_route_has_a_rule(tmp_path: Path) -> None:
    door = make_app(build(load_settings(database=tmp_path / "broker.db")))
    missing = [line for line in served(door) if line not in RULES]
    assert not missing, f"add to broker/api/access.py: {missing}"


async def test_every_documented_call_has_a_rule(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        document = await api.ok("GET", "/openapi.json")
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented <= RULES.keys()


def test_a_route_without_a_rule_is_refused() -> None:
    with pytest.raises(LookupError, match="no rule for GET /new"):
        rule_for("GET", "/new")


def test_whatever_names_a_job_in_its_path_is_its_owners_or_a_nodes() -> None:
    wrong = [line for line, rule in RULES.items() if "{job_id}" in line[1] and rule not in (Rule.OWNER, Rule.NODE)]
    assert not wrong


async def test_without_auth_everybody_may_do_everything(api: Api) -> None:
    node = await api.node()
    await api.ok("POST", f"/nodes/{node.id}/drain")
    assert (await api.ok("GET", "/jobs"))["jobs"] == []
