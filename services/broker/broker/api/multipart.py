"""multipart/form-data as sandrun's clients send it: `files` parts straight into blobs, one `manifest`."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from broker.api.access import principal_of
from broker.api.body import Gathered
from broker.api.errors import HttpError
from broker.api.state import broker_of
from broker.api.streaming import body_chunks
from broker.domain.paths import safe_path
from broker.errors import ArtifactRefusedError
from broker.service.files import Files
from broker.service.peek import is_archive
from broker.service.quotas import Arrival
from broker.service.uploads import Part
from broker.store.blobs.writer import BlobWriter

__all__ = ["Upload", "read_upload"]

MAX_FILES = 1000
MAX_PARTS = MAX_FILES + 24
"""The manifest, and fields that some clients send beside it; sandrun passes them over."""
MAX_HEADER_BYTES = 8 * 1024
MAX_HEADERS = 16
FRAME_BYTES = MAX_PARTS * 2 * 1024
"""What a body has beside files and manifest: boundaries and headers."""
MAX_BOUNDARY = 256

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what strangers send wrongly is no news


@dataclass(slots=True)
class Upload:
    """What arrived. Its blobs are pinned: `release` when the job is stored, or is not."""

    files: Files
    parts: list[Part] = field(default_factory=list)
    manifest: bytes | None = None
    arrival: Arrival = field(default_factory=Arrival)
    """What it holds of its owner's quota until the job does."""

    def release(self) -> None:
        """Let the blobs go where rows do not hold them."""
        for part in self.parts:
            self.files.folder.unpin(part.blob.sha256)
        self.parts = []
        self.arrival.over()


async def read_upload(request: Request) -> Upload:
    """The body's parts. HttpError 400 and 408, ArtifactRefusedError, StorageFullError, OverloadedError."""
    broker = broker_of(request)
    settings, files = broker.settings, broker.files
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise HttpError(400, "multipart/form-data needs a boundary.", close=True)
    declared = request.headers.get("content-length", "")
    too_large = _too_large(settings.max_upload_bytes)
    if declared.isdigit() and int(declared) > settings.max_upload_bytes + settings.max_body_bytes + FRAME_BYTES:
        raise too_large
    who = principal_of(request).id
    files.from_clients.enter(who)
    reader = _Reader(files, boundary, settings.max_upload_bytes, settings.max_body_bytes)
    reader.upload.arrival = arrival = broker.quotas.arrival(who)
    try:
        arrival.expect(int(declared) if declared.isdigit() else 0)
        await files.make_room(int(declared) if declared.isdigit() else 0)
        chunks = body_chunks(request, idle_seconds=settings.body_timeout, total_seconds=settings.upload_timeout)
        return await reader.read(chunks)
    except BaseException:
        await reader.abandon()
        raise
    finally:
        reader.gathered.over()
        files.from_clients.leave(who)


def _too_large(most: int) -> ArtifactRefusedError:
    return ArtifactRefusedError("upload_too_large", f"An upload has at most {most} bytes.")


class _Reader:
    """Hands each part to where it belongs. The parser calls back at once; the disk is waited for between chunks."""

    def __init__(self, files: Files, boundary: bytes, most_bytes: int, most_manifest_bytes: int) -> None:
        self._files = files
        self._most = most_bytes
        self._most_manifest = most_manifest_bytes
        self._taken = 0
        self.upload = Upload(files)
        self._events: list[tuple[str, bytes]] = []
        self._headers: dict[bytes, bytes] = {}
        self._header = bytearray()
        self._header_name = b""
        self._header_bytes = 0
        self._writer: BlobWriter | None = None
        self._name = ""
        self._manifest: bytearray | None = None
        self.gathered = Gathered()
        self._over = False
        self._parts = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: self._events.append(("begin", b"")),
                "on_header_field": lambda data, start, end: self._events.append(("field", data[start:end])),
                "on_header_value": lambda data, start, end: self._events.append(("value", data[start:end])),
                "on_header_end": lambda: self._events.append(("header", b"")),
                "on_headers_finished": lambda: self._events.append(("headers", b"")),
                "on_part_data": lambda data, start, end: self._events.append(("data", data[start:end])),
                "on_part_end": lambda: self._events.append(("end", b"")),
                "on_end": lambda: self._events.append(("over", b"")),
            },
        )

    async def read(self, chunks: AsyncIterator[bytes]) -> Upload:
        """Everything, or an error."""
        async for chunk in chunks:
            self._taken += len(chunk)
            self.upload.arrival.grow(len(chunk))
            if self._taken > self._most + self._most_manifest + FRAME_BYTES:
                raise _too_large(self._most)
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise HttpError(400, f"The multipart body cannot be read: {error}.", close=True) from None
            events, self._events = self._events, []
            for kind, data in events:
                await self._handle(kind, data)
        if not self._over:
            raise HttpError(400, "The multipart body ends before its last boundary.", close=True)
        return self.upload

    async def abandon(self) -> None:
        """Throw away what arrived."""
        if self._writer is not None:
            await self._writer.abandon()
        self.upload.release()

    async def _handle(self, kind: str, data: bytes) -> None:
        if kind == "data":
            await self._take(data)
        elif kind == "begin":
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise HttpError(400, f"A submit has at most {MAX_PARTS} parts.", close=True)
            self._headers, self._header, self._header_name, self._header_bytes = {}, bytearray(), b"", 0
        elif kind == "headers":
            self._begin()
        elif kind == "end":
            await self._finish()
        elif kind == "over":
            self._over = True
        else:
            self._take_header(kind, data)

    def _take_header(self, kind: str, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES or len(self._headers) > MAX_HEADERS:
            raise HttpError(400, f"The headers of a part have at most {MAX_HEADER_BYTES} bytes.", close=True)
        if kind == "header":
            self._headers[self._header_name.lower()] = bytes(self._header)
            self._header, self._header_name = bytearray(), b""
        elif kind == "field":
            self._header_name += data
        else:
            self._header += data

    def _begin(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name", b""), options.get(b"filename", b"")
        self._manifest, self._writer = None, None
        if name == b"manifest":
            if self.upload.manifest is not None:
                raise HttpError(400, "Send one part named 'manifest', not several.", close=True)
            self._manifest = bytearray()
        elif name == b"files":
            if len(self.upload.parts) >= MAX_FILES:
                raise HttpError(400, f"A submit has at most {MAX_FILES} files: send an archive.", close=True)
            self._name = _file_name(filename)
            self._writer = self._files.upload_writer()

    async def _take(self, data: bytes) -> None:
        if self._writer is not None:
            await self._writer.write(data)
        elif self._manifest is not None:
            self._manifest += data
            if len(self._manifest) > self._most_manifest:
                raise HttpError(413, f"The manifest has at most {self._most_manifest} bytes.", close=True)
            self.gathered.grew_to(len(self._manifest))

    async def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                self.upload.parts.append(Part(self._name, await writer.finish()))
            except BaseException:
                await writer.abandon()
                raise
            if sum(part.blob.size for part in self.upload.parts) > self._most:
                raise _too_large(self._most)
        elif self._manifest is not None:
            self.upload.manifest = bytes(self._manifest)
            self._manifest = None


def _file_name(raw: bytes) -> str:
    """The name under which sandrun will store the part. HttpError 400 when it is none."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise HttpError(400, "The file name of a part is not UTF-8.", close=True) from None
    if is_archive(name):  # it is unpacked, and where it was on the client's disk means nothing
        name = name.replace("\\", "/").rpartition("/")[2]
    if not name:
        raise HttpError(400, "Every part named 'files' needs a file name.", close=True)
    try:
        return safe_path(name)
    except ValueError as error:
        raise HttpError(400, f"The file name {name[:100]!r} {error}.", close=True) from None
