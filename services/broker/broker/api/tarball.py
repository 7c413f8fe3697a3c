"""Many files as one tar.gz, made while it is sent: no more than a piece is ever in memory."""

import asyncio
import tarfile
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.service.files import Files
from broker.store.records.job import StoredFile

__all__ = ["TarResponse"]

PIECE_BYTES = 256 * 1024
LEVEL = 1
"""Speed before size: the network is rarely slower than a better compression here."""
GZIP = 16 + zlib.MAX_WBITS


class TarResponse(Response):
    """The same files and time make the same bytes. The contents are pinned until it is sent: a job may expire
    meanwhile. StoreBrokenError when one is not there."""

    media_type = "application/gzip"

    def __init__(
        self, request: Request, files: Files, wanted: Sequence[StoredFile], mtime: float, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._files = files
        self._wanted = wanted
        self._mtime = int(mtime)
        self._headers_only = request.method == "HEAD"
        files.pin_all(wanted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. An error in the middle breaks the connection, so that nobody takes a part for the whole."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if not self._headers_only:
                async for piece in self._compressed():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._files.unpin_all(self._wanted)

    async def _compressed(self) -> AsyncIterator[bytes]:
        squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        async for piece in self._tar():
            data = await asyncio.to_thread(squeeze.compress, piece)
            if data:
                yield data
        yield squeeze.flush()

    async def _tar(self) -> AsyncIterator[bytes]:
        for file in self._wanted:
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mtime = file.size, self._mtime
            yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            blob = await self._files.folder.read(file.sha256)
            try:
                at = 0
                while at < file.size:
                    piece = await blob.read(at, min(PIECE_BYTES, file.size - at))
                    at += len(piece)
                    yield piece
            finally:
                blob.close()
            yield b"\0" * (-file.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)
