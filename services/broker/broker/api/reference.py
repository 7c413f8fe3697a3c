"""The API reference at /docs: one page made of the OpenAPI document, without a script or anything from elsewhere.

FastAPI's own pages load their scripts from a CDN: they show nothing on a machine without the internet, and run a
stranger's code in the operator's browser where the dashboard's key is.
"""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from broker.api.lean import LeanRoute

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .4rem 0 } summary p { display: inline; opacity: .75 }
code, pre { font-family: ui-monospace, monospace; font-size: .9em } b { font: 600 .9em ui-monospace, monospace }
details { border-bottom: 1px solid #8885 } details > :not(summary) { margin-left: 1.2rem }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0 }
h2 { margin-top: 2.5rem } h4 { margin: .8rem 0 .2rem }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
DEEPEST = 3
"""Models within models that are shown in place; what lies deeper is named."""


@router.api_route("/docs", methods=["GET", "HEAD"])
async def reference(request: Request) -> Response:
    """Every call with its parameters, body and answers."""
    app: FastAPI = request.scope["app"]
    page = getattr(app.state, "reference", None)
    if page is None:
        page = app.state.reference = _page(app.openapi()).encode()
    headers = {**HEADERS, "Content-Length": str(len(page))}
    return Response(b"" if request.method == "HEAD" else page, headers=headers, media_type="text/html; charset=utf-8")


def _page(document: dict[str, Any]) -> str:
    title = escape(document["info"]["title"])
    groups: dict[str, list[str]] = {}
    models = document.get("components", {}).get("schemas", {})
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            groups.setdefault((call.get("tags") or ["other"])[0], []).append(_call(method, path, call, models))
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(calls)}" for name, calls in groups.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title} {escape(document['info']['version'])}</h1>"
        f'<p>{escape(document["info"].get("summary", ""))} For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{body}</body></html>"
    )


def _call(method: str, path: str, call: dict[str, Any], models: dict[str, Any]) -> str:
    text = escape(call.get("description") or call.get("summary", ""))
    parts = [f"<details><summary><b>{escape(method.upper())} {escape(path)}</b> <p>{text}</p></summary>"]
    if parameters := call.get("parameters"):
        rows = "".join(_row(p["name"], p["schema"], p.get("required", False), p.get("description")) for p in parameters)
        parts.append(f"<h4>Parameters</h4><table>{rows}</table>")
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body, {escape(kind)}</h4>{_fields(content.get('schema', {}), models)}")
    for status, answer in call.get("responses", {}).items():
        parts.append(f"<h4>{escape(status)}</h4><p>{escape(answer.get('description', ''))}</p>")
        if not status.startswith(("4", "5")):
            parts += [_fields(content.get("schema", {}), models) for content in answer.get("content", {}).values()]
    return "".join(parts) + "</details>"


def _fields(schema: dict[str, Any], models: dict[str, Any], depth: int = 0) -> str:
    """A model's fields as a table, the models in it likewise; nothing for a schema that names no model."""
    tables = []
    for name in dict.fromkeys(_named(schema)):
        model = models.get(name, {})
        properties = model.get("properties", {})
        required = model.get("required", ())
        rows = [_row(key, field, key in required, field.get("description")) for key, field in properties.items()]
        inner = "" if depth >= DEEPEST else "".join(_fields(field, models, depth + 1) for field in properties.values())
        about = escape(model.get("description", ""))
        tables.append(f"<p><code>{escape(name)}</code> {about}</p><table>{''.join(rows)}</table>{inner}")
    return "".join(tables)


def _row(name: str, schema: dict[str, Any], required: bool, about: str | None) -> str:
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    notes = [*(["required"] if required else []), *bounds, *([about] if about else [])]
    if schema.get("default") is not None:
        notes.append(f"default {schema['default']!r}")
    cells = (f"<code>{escape(name)}</code>", escape(_type(schema)), escape("; ".join(notes)))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "minLength": "characters: at least",
    "maxLength": "characters: at most",
    "maxItems": "items: at most",
    "pattern": "form",
}


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(part) for part in schema[key]))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _named(schema: Any) -> Iterator[str]:
    """The models that a schema names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield str(schema["$ref"]).rsplit("/", 1)[-1]
        for value in schema.values():
            yield from _named(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _named(value)
