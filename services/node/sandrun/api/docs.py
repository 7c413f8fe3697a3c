"""The parts of the OpenAPI document that cannot be read off the code."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["DOWNLOAD_ALL", "DOWNLOAD_ONE", "ERROR", "NOT_FOUND", "SUBMIT_ANSWERS", "SUBMIT_BODY", "of"]

ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string", "description": "What was wrong and what would be right."}},
            }
        }
    }
}


def answer(description: str) -> dict[str, Any]:
    """An error answer of the document."""
    return {"description": description, **ERROR}


NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: answer("No such job, or its data has been deleted."),
    422: answer("A query parameter is wrong."),
}


def of(model: type[BaseModel], *others: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """The answers of a call: this one on success, and others."""
    answers: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    for each in others:
        answers |= each
    return answers


DOWNLOAD_ALL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All files.",
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
    },
    404: answer("No such job, or it left no files."),
    409: answer("The job has not ended."),
}

DOWNLOAD_ONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    403: answer("The path leaves the job's directory."),
    404: answer("No such job, or no such file."),
}

SUBMIT_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: answer("The upload or the manifest cannot be accepted."),
    408: answer("The upload took too long."),
    413: answer("The upload is too large."),
    429: answer("This client's rate limit is used up; see Retry-After."),
    503: answer("The queue is full, or this node runs no jobs; see Retry-After."),
}

SUBMIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "Files; .tar.gz, .tgz, .tar and .zip are unpacked.",
                        },
                        "manifest": {
                            "type": "string",
                            "description": "The manifest as JSON text; without it, a job.json among the files serves.",
                        },
                    },
                }
            }
        },
    }
}
