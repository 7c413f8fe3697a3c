"""Stored contents over HTTP: whole or a range, never more than a piece in memory, never shorter than announced."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.store.blobs.folder import OpenBlob

__all__ = ["BlobResponse"]

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class BlobResponse(Response):
    """One content with ETag, Range and conditional requests. It closes the blob when it is done."""

    def __init__(self, request: Request, blob: OpenBlob, sha256: str, headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers))
        self._blob = blob
        self._tag = f'"{sha256}"'
        self._start, self._end = 0, blob.size
        self.headers["ETag"] = self._tag
        self.headers["Accept-Ranges"] = "bytes"
        self._choose(request)
        if self.status_code == 304:
            for name in ("Content-Type", "Content-Disposition", "Content-Length"):  # what is known of it stays true
                del self.headers[name]
        else:
            self.headers["Content-Length"] = str(self._end - self._start)
        self._headers_only = request.method == "HEAD" or self.status_code in (304, 416)

    def _choose(self, request: Request) -> None:
        """Whole, a part, or nothing of it. Several ranges at once are answered with the whole, as RFC 9110 allows; a
        HEAD is about the whole."""
        known = request.headers.get("if-none-match")
        if known is not None and (known == "*" or self._tag in known):
            self.status_code = 304
            self._end = 0
            return
        wanted = _RANGE.fullmatch(request.headers.get("range", "")) if request.method == "GET" else None
        unchanged = request.headers.get("if-range", self._tag) == self._tag
        if wanted is None or not unchanged or not (wanted[1] or wanted[2]):
            return
        size = self._blob.size
        if wanted[1]:
            start, end = int(wanted[1]), min(int(wanted[2] or size), size - 1) + 1
        else:
            start, end = max(0, size - int(wanted[2])), size
        if wanted[1] and wanted[2] and int(wanted[1]) > int(wanted[2]):
            return  # no range at all
        if start >= size or start >= end:
            self.status_code = 416
            self.headers["Content-Range"] = f"bytes */{size}"
            self._end = 0
            return
        self.status_code = 206
        self.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._start, self._end = start, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. An error in the middle breaks the connection: a short answer is never taken for the whole."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self._start
            while not self._headers_only and at < self._end:
                piece = await self._blob.read(at, min(PIECE_BYTES, self._end - at))
                at += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._blob.close()
