"""Reading a multipart submission within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Message

from sandrun.api.errors import ApiError
from sandrun.archive import is_archive
from sandrun.jobs.uploads import UploadedPart

__all__ = ["MANIFEST_BYTES", "read_submission"]

#: The largest manifest: 16 MiB of standard input, which JSON may write six times as long, need not fit; 32 MiB do.
MANIFEST_BYTES = 32 * 1024 * 1024
MOST_PARTS = 1000

#: For the whole body. 128 MiB in it are 18 Mbit/s; a slow sender holds a connection and its spooled bytes no longer.
UPLOAD_SECONDS = 60.0


@asynccontextmanager
async def read_submission(request: Request, most_bytes: int) -> AsyncIterator[tuple[list[UploadedPart], str | None]]:
    """The `files` parts and the `manifest`, or an ApiError that says what is wrong with the request.

    Large archives are spooled files, which live as long as the context.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise ApiError(400, "send multipart/form-data with one or more parts named 'files' and one part 'manifest'")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    parser = MultiPartParser(
        request.headers,
        _bounded(request, most_bytes).stream(),
        max_files=MOST_PARTS,
        max_fields=MOST_PARTS,
        max_part_size=MANIFEST_BYTES,
    )
    try:
        form = await _in_time(parser)
        parts = await _parts(form)
        yield parts
    finally:
        # All that it opened: a form knows only of parts that arrived whole.
        for file in parser._files_to_close_on_error:
            file.close()


async def _parts(form: FormData) -> tuple[list[UploadedPart], str | None]:
    parts: list[UploadedPart] = []
    manifest: str | None = None
    for name, value in form.multi_items():
        if name == "manifest":
            if manifest is not None:
                raise ApiError(400, "send one part named 'manifest', not several")
            manifest = value if isinstance(value, str) else _text(await value.read())
        elif name == "files":
            if not isinstance(value, UploadFile) or not value.filename:
                raise ApiError(400, "every part named 'files' needs a file name")
            name = _file_name(value)
            spooled = is_archive(name) and (value.size or 0) > MultiPartParser.spool_max_size
            parts.append(UploadedPart(name, value.file if spooled else await value.read()))
    if not parts:
        raise ApiError(400, "no files uploaded: send at least one part named 'files'")
    return parts, manifest


async def _in_time(parser: MultiPartParser) -> FormData:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await _parse(parser)
    except TimeoutError:
        raise ApiError(408, f"the upload took more than {UPLOAD_SECONDS:g} s", Connection="close") from None


async def _parse(parser: MultiPartParser) -> FormData:
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the multipart body cannot be read: {error.message}") from None
    except ClientDisconnect:
        raise ApiError(400, "the upload broke off") from None
    except (ValueError, KeyError, LookupError) as error:  # a charset or boundary that the parser stumbles over
        raise ApiError(400, f"the multipart body cannot be read: {error}") from None


def _bounded(request: Request, most_bytes: int) -> Request:
    """The same request, whose body ends with an error beyond the bound, whatever its headers claimed."""
    received = 0
    receive = request.receive

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most_bytes:
            raise _too_large(most_bytes)
        return message

    return Request(request.scope, counted)


def _file_name(part: UploadFile) -> str:
    """The part's file name. Clients write UTF-8; the parser would take anything else for Latin-1."""
    assert part.filename is not None
    try:
        part.headers.get("content-disposition", "").encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, f"the file name {part.filename[:100]!r} is not valid UTF-8") from None
    return part.filename


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "manifest: not valid UTF-8") from None


def _too_large(most_bytes: int) -> ApiError:
    return ApiError(413, f"the upload is too large: at most {most_bytes} bytes", Connection="close")
