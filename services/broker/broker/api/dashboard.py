"""The dashboard: static files that a browser puts together, from memory, under a policy that lets nothing else run.

The files are ES modules and style sheets as they are written: no build, nothing from anywhere else. Their addresses
hold the build (a hash of them all), so that a browser keeps them for good and never mixes those of two versions; it
asks for the front page only, with its ETag.
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
BUILD_MARK = b"@build@"
"""Stands in the front page for the build."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
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
}
ASK = {"Cache-Control": "no-cache"}
KEEP = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is sent."""

    plain: bytes
    packed: bytes | None
    etag: str
    media_type: str


def _pack(content: bytes, suffix: str) -> _File:
    packed = None if suffix in COMPRESSED_ALREADY else gzip.compress(content, mtime=0)
    return _File(content, packed, f'"{hashlib.sha256(content).hexdigest()[:24]}"', TYPES[suffix])


def _read() -> dict[str, bytes]:
    """Path below the folder -> content."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}


_CONTENT = _read()
BUILD = hashlib.sha256(b"".join(f"{name}\0".encode() + text for name, text in _CONTENT.items())).hexdigest()[:16]
_FILES = {name: _pack(text.replace(BUILD_MARK, BUILD.encode()), Path(name).suffix) for name, text in _CONTENT.items()}


@router.api_route("/", methods=["GET", "HEAD"])
async def front_page(request: Request) -> Response:
    """The dashboard for browsers, JSON for everybody else."""
    if "text/html" in request.headers.get("accept", ""):
        response = _send(request, _FILES[FRONT_PAGE], ASK)
    else:
        response = service_info(request)
    response.headers["Vary"] = "Accept, Accept-Encoding"
    return response


@router.api_route("/dashboard/{build}/{path}", methods=["GET", "HEAD"])
async def asset(request: Request, build: str, path: str) -> Response:
    """A file of the dashboard. Those of another build are gone: a page of it has to be loaded again."""
    file = _FILES.get(path)
    if file is None or build != BUILD:
        return Json({"error": f"This build ({BUILD}) of the dashboard has no file {path} of build {build}."}, 404)
    return _send(request, file, KEEP)


def _send(request: Request, file: _File, caching: dict[str, str]) -> Response:
    headers = {**HEADERS, **caching, "ETag": file.etag, "Vary": "Accept-Encoding"}
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
