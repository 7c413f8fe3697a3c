"""The dashboard: static files that a browser puts together, from memory, under a policy that lets nothing else run.

The files are ES modules and style sheets as they are written: no build, nothing from anywhere else. A browser keeps
them and asks with their ETag whether they are still the same.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker.api.info import service_info
from broker.api.lean import LeanRoute
from broker.api.render import Json

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, include_in_schema=False)

FOLDER = Path(__file__).parent.parent / "dashboard"
FRONT_PAGE = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
COMPRESSED_ALREADY = frozenset({".woff2"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
"""No inline script or style, no eval, no foreign host, no frame; text can never become markup (trusted types)."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is sent."""

    plain: bytes
    packed: bytes | None
    etag: str
    media_type: str


def _load(path: Path) -> _File:
    content = path.read_bytes()
    packed = None if path.suffix in COMPRESSED_ALREADY else gzip.compress(content, mtime=0)
    return _File(content, packed, f'"{hashlib.sha256(content).hexdigest()[:24]}"', TYPES[path.suffix])


_FILES = {path.name: _load(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}


@router.api_route("/", methods=["GET", "HEAD"])
async def front_page(request: Request) -> Response:
    """The dashboard for browsers, JSON for everybody else."""
    if "text/html" in request.headers.get("accept", ""):
        response = _send(request, _FILES[FRONT_PAGE])
    else:
        response = service_info(request)
    response.headers["Vary"] = "Accept, Accept-Encoding"
    return response


@router.api_route("/dashboard/{name}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """A file of the dashboard."""
    file = _FILES.get(name)
    if file is None:
        return Json({"error": f"The dashboard has no file {name}."}, 404)
    return _send(request, file)


def _send(request: Request, file: _File) -> Response:
    headers = {**HEADERS, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if file.etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    content = file.plain
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = file.packed
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = file.media_type
    headers["Content-Length"] = str(len(content))
    return Response(b"" if request.method == "HEAD" else content, headers=headers)


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
