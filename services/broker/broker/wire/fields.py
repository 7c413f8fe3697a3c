"""Kinds of fields that several bodies share, with their limits."""

import base64
import binascii
import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = [
    "Base64",
    "Interpreter",
    "Label",
    "Labels",
    "NoNul",
    "RelativePath",
    "SafeInt",
    "ShortText",
]

LONGEST_SHORT_TEXT = 256
LONGEST_PATH = 1024

SafeInt = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""An integer that every JSON reader and the database can hold."""


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character: no program could be given it")
    return text


def _relative_path(text: str) -> str:
    path = PurePosixPath(_no_nul(text))
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path inside the job's folder")
    if any(len(part.encode()) > 255 for part in path.parts):
        raise ValueError("has a part of more than 255 bytes")
    return str(path)


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64") from None
    return text


def _variable_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError("must be a name of letters, digits and _, not beginning with a digit")
    return text


NoNul = Annotated[str, AfterValidator(_no_nul)]
ShortText = Annotated[str, Field(min_length=1, max_length=LONGEST_SHORT_TEXT), AfterValidator(_no_nul)]
RelativePath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_relative_path)]
Base64 = Annotated[str, AfterValidator(_base64)]
Interpreter = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
VariableName = Annotated[str, Field(max_length=LONGEST_SHORT_TEXT), AfterValidator(_variable_name)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")]
Labels = Annotated[dict[Label, ShortText], Field(max_length=32)]
