"""A multipart submit: from its parts and its manifest to a job, as sandrun would choose it."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from broker.domain.paths import check_tree
from broker.errors import InvalidFieldError
from broker.service.files import Files
from broker.service.peek import JOB_JSON, Contents, is_archive, peek
from broker.store.blobs.writer import Blob
from broker.wire.amount import MAX_VALUES_OF_A_JOB, holds_more_values
from broker.wire.jobs import UploadJob

__all__ = ["Part", "make_job"]

DEFAULT_ENTRYPOINTS = ("main.py", "index.js", "run.sh")
EXTENSIONS = {
    ".py": "python3", ".js": "node", ".mjs": "node", ".cjs": "node", ".bash": "bash", ".sh": "sh",
    ".rb": "ruby", ".pl": "perl", ".pm": "perl",
}  # fmt: skip
ALIASES = {"python": "python3", "nodejs": "node", "javascript": "node", "js": "node", "py": "python3"}
_KNOWN = frozenset(UploadJob.model_fields)
_lookers = ThreadPoolExecutor(2, thread_name_prefix="peek")
"""Archives are looked into two at a time: each may take seconds, and others need threads too."""


@dataclass(frozen=True, slots=True)
class Part:
    """One `files` part, stored."""

    name: str
    blob: Blob


async def make_job(files: Files, parts: Sequence[Part], manifest: bytes | None) -> tuple[UploadJob, list[str]]:
    """The job of an upload, and the manifest's fields that mean nothing here: sandrun passes them over too.

    InvalidFieldError, or pydantic's ValidationError for fields of the manifest.
    """
    if not parts:
        raise InvalidFieldError("files", "no files uploaded: send at least one part named 'files'.")
    try:
        check_tree(part.name for part in parts if not is_archive(part.name))
    except ValueError as error:
        raise InvalidFieldError("files", f"files: {error}.") from None
    contents: Contents | None = None
    if manifest is None:
        contents = await _look(files, parts)
        manifest = contents.job_json
    given = _parse(manifest)
    ignored = sorted(given.keys() - _KNOWN)
    given = {name: value for name, value in given.items() if name in _KNOWN}
    if not given.get("entrypoint"):
        contents = contents or await _look(files, parts)
        given["entrypoint"] = _entrypoint(contents)
    entrypoint = given["entrypoint"]
    if not given.get("interpreter"):
        given["interpreter"] = EXTENSIONS.get(PurePosixPath(str(entrypoint)).suffix.lower(), "python3")
    elif isinstance(given["interpreter"], str):
        given["interpreter"] = ALIASES.get(given["interpreter"], given["interpreter"])
    job = UploadJob.model_validate_json(json.dumps(given))
    _check_entrypoint(str(job.entrypoint), parts)
    return job, ignored


def _check_entrypoint(entrypoint: str, parts: Sequence[Part]) -> None:
    """That there is such a file, as far as can be seen without looking into archives: the node does that."""
    if not any(is_archive(part.name) for part in parts) and entrypoint not in {part.name for part in parts}:
        raise InvalidFieldError("entrypoint", f"entrypoint: there is no file {entrypoint[:200]!r} in the upload.")


def _parse(manifest: bytes | None) -> dict[str, Any]:
    """The manifest's fields; those that are null are as good as absent."""
    if manifest is None:
        return {}
    if holds_more_values(manifest, MAX_VALUES_OF_A_JOB):
        raise InvalidFieldError("manifest", f"manifest holds more than {MAX_VALUES_OF_A_JOB} values.")
    try:
        given = json.loads(manifest)
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidFieldError("manifest", "manifest holds half of a UTF-16 pair, which is no text.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidFieldError("manifest", f"manifest is not valid JSON: {str(error)[:200]}.") from None
    if not isinstance(given, dict):
        raise InvalidFieldError("manifest", "manifest must be a JSON object.")
    fields = {name: value for name, value in given.items() if value is not None}
    if _wants_gpu(fields.pop("gpu", None)):
        wanted = fields.get("requires", {})
        fields["requires"] = {**wanted, "gpu": True} if isinstance(wanted, dict) else wanted
    return fields


def _wants_gpu(gpu: Any) -> bool:
    """Whether sandrun's `gpu` asks for one. InvalidFieldError for wishes beside that, which nobody here would heed."""
    if gpu is None:
        return False
    if not isinstance(gpu, dict):
        raise InvalidFieldError("gpu", 'gpu must be an object, such as {"required": true}.')
    unheeded = sorted(name for name, value in gpu.items() if name != "required" and value is not None)
    if gpu.get("required") and unheeded:
        which = ", ".join(unheeded)[:200]
        raise InvalidFieldError("gpu", f"gpu: {which} cannot be asked for here; use labels of nodes, in requires.")
    return bool(gpu.get("required"))


def _entrypoint(contents: Contents) -> str:
    for name in DEFAULT_ENTRYPOINTS:
        if name in contents.names:
            return name
    others = contents.names - {JOB_JSON}
    if len(others) == 1:
        return next(iter(others))
    raise InvalidFieldError(
        "entrypoint", f"entrypoint is missing: name the file to run, or upload one of {', '.join(DEFAULT_ENTRYPOINTS)}."
    )


async def _look(files: Files, parts: Sequence[Part]) -> Contents:
    """The names in all parts, read in a thread."""
    contents = Contents()
    for part in parts:
        if not is_archive(part.name):
            contents.add(part.name)
            if part.name == JOB_JSON and part.blob.size <= 1024 * 1024:
                contents.job_json = await _read(files, part.blob)
            continue
        place = files.folder.place(part.blob.sha256)

        def work(name: str = part.name, path: Path = place) -> None:
            with path.open("rb") as content:
                peek(name, content, contents)

        await asyncio.get_running_loop().run_in_executor(_lookers, work)
    return contents


async def _read(files: Files, blob: Blob) -> bytes:
    opened = await files.folder.read(blob.sha256)
    try:
        return await opened.read(0, blob.size)
    finally:
        opened.close()
