"""The ASGI application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

from sandrun import __version__
from sandrun.api import downloads, errors, info, routes, stream
from sandrun.api.request_ids import RequestIds
from sandrun.service import Service

__all__ = ["create_app"]


class AnyNameResponse(JSONResponse):
    """JSON that can hold file names which are no UTF-8: as escaped lone surrogates, as Python programs write them."""

    def render(self, content: Any) -> bytes:
        """The body."""
        try:
            return super().render(content)
        except UnicodeEncodeError:
            return json.dumps(content, separators=(",", ":")).encode("ascii")


def create_app(service: Service) -> FastAPI:
    """The application around one service, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="sandrun",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        # Whatever the environment says: it would tell of jobs, and nobody but the agent is to be told.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
        redirect_slashes=False,
        default_response_class=AnyNameResponse,
    )
    app.state.service = service
    # As the original sandrun: any page may ask. There is no cookie or key that it could misuse.
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(RequestIds)
    errors.install(app)
    app.include_router(info.router)
    app.include_router(routes.router)
    app.include_router(downloads.router)
    app.include_router(stream.router)
    return app
