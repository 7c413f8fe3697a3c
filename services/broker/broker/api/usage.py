"""What keys may take and have used."""

import csv
import io
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from broker.api.access import principal_of
from broker.api.answers import UsageAnswer, UsageExportAnswer, errors
from broker.api.errors import HttpError
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.errors import NotFoundError
from broker.service.broker import Broker
from broker.store.records.access import UsageRow

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["keys"])

MOST_DAYS = 366
_COLUMNS = (
    "day",
    "owner",
    "name",
    "outcome",
    "count",
    "cpu_seconds",
    "wall_seconds",
    "memory_mb_seconds",
    "bytes_in",
    "bytes_out",
)
Owner = Annotated[str | None, Query(max_length=100, description="For admins: whose; everybody's unless set.")]
Day = Annotated[str, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A UTC day, YYYY-MM-DD.")]


@router.get("/usage", response_model=UsageAnswer, responses=errors(401, 403, 404, 422, 429, 503))
async def usage(request: Request, owner: Owner = None) -> Response:
    """Limits, what is used of them, and what was metered today."""
    broker = broker_of(request)
    if broker.settings.auth != "required":
        return Json({"metered": False, "owners": []})
    whose = _whose(request, owner)
    today = broker.quotas.today
    rows = await broker.store.access.usage(today, today, whose)
    keys = [held.key.id for held in broker.keys if held.key.role in ("client", "admin")] if whose is None else [whose]
    owners = [
        {
            "owner": key_id,
            "name": _name(broker, key_id),
            "limits": broker.quotas.shown(key_id),
            "today": [_row(broker, row) for row in rows if row.owner == key_id],
        }
        for key_id in keys
    ]
    return Json({"metered": True, "owners": owners}, headers={"Cache-Control": "no-store"})


@router.get(
    "/usage/export",
    response_model=UsageExportAnswer,
    responses=errors(401, 403, 404, 422, 429, 503) | {200: {"content": {"text/csv": {}}, "description": "Daily rows"}},
)
async def export(
    request: Request,
    since: Annotated[Day, Query(alias="from")],
    to: Day,
    owner: Owner = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Response:
    """Daily rows from day to day, both included: one's own; for admins everybody's."""
    first, last = _day("from", since), _day("to", to)
    if last < first or last - first > timedelta(days=MOST_DAYS):
        raise HttpError(422, f"from must not be after to, and at most {MOST_DAYS} days before it.")
    broker = broker_of(request)
    whose = _whose(request, owner) if broker.settings.auth == "required" else owner
    rows = [_row(broker, row) for row in await broker.store.access.usage(since, to, whose)]
    if format == "json":
        return Json({"rows": rows})
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    name = f'attachment; filename="usage-{since}-{to}.csv"'
    return Response(text.getvalue(), media_type="text/csv", headers={"Content-Disposition": name})


def _whose(request: Request, asked: str | None) -> str | None:
    """The owner that the answer is about; None: everybody. NotFoundError for somebody else's."""
    own = principal_of(request).sees
    if own is None:
        if asked is not None:
            broker_of(request).keys.find(asked)
        return asked
    if asked not in (None, own):
        raise NotFoundError("Key not found")
    return own


def _row(broker: Broker, row: UsageRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _COLUMNS if name != "name"}
    for name in ("cpu_seconds", "wall_seconds", "memory_mb_seconds"):
        values[name] = round(values[name], 6)
    return {**values, "name": _name(broker, row.owner)}


def _name(broker: Broker, owner: str) -> str | None:
    try:
        return broker.keys.find(owner).key.name
    except NotFoundError:
        return None


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise HttpError(422, f"{name}: {text} is no day of the calendar.") from None
