"""What every answer is, and what errors look like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Answer", "ErrorAnswer", "ErrorDetail", "errors"]


class Answer(BaseModel):
    """Nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    """One wrong field."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorAnswer(Answer):
    """Every error."""

    error: str = Field(description="A sentence for a person.")
    reason: str | None = Field(None, description="A word for a program.")
    detail: list[ErrorDetail] | None = None
    limit: str | None = Field(None, description="With 429: which limit is reached.")


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these codes."""
    words = {
        400: "The body is not JSON",
        401: "A key is missing, unknown, expired or revoked",
        403: "The key is for something else; wrong_secret",
        404: "Unknown",
        408: "The body did not arrive in time",
        409: "Conflict: session_ended, stale_lease, or an Idempotency-Key used before",
        410: "Deleted after RESULT_TTL",
        411: "Content-Length is missing",
        507: "The room for files is used up",
        413: "The body is too large",
        415: "The body is not declared as JSON",
        422: "A field is wrong",
        429: "A limit is reached: Retry-After says for how long",
        503: "Try again later: overloaded or stopping",
    }
    return {code: {"model": ErrorAnswer, "description": words[code]} for code in codes}
