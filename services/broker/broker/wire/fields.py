"""Kinds of fields that several bodies share, with their limits."""

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from broker.domain.paths import safe_path

__all__ = [
    "Argument",
    "Base64",
    "Interpreter",
    "Label",
    "Labels",
    "NoNul",
    "Pattern",
    "RelativePath",
    "SafeInt",
    "ShortText",
    "Variable",
]

LONGEST_SHORT_TEXT = 256
LONGEST_PATH = 1024
LONGEST_ARGUMENT = 128 * 1024 - 1
"""Bytes that the kernel takes as one argument (MAX_ARG_STRLEN, with the NUL behind it)."""
LONGEST_VARIABLE = LONGEST_ARGUMENT - LONGEST_SHORT_TEXT
"""The same for a variable, which is passed with its name."""

SafeInt = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""An integer that every JSON reader and the database can hold."""


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character: no program could be given it")
    return text


def _argument(text: str) -> str:
    return _at_most(text, LONGEST_ARGUMENT)


def _variable(text: str) -> str:
    return _at_most(text, LONGEST_VARIABLE)


def _pattern(text: str) -> str:
    return _at_most(text, LONGEST_SHORT_TEXT)


def _at_most(text: str, most: int) -> str:
    if len(text) > most or len(text.encode()) > most:
        raise ValueError(f"has more than {most} bytes")
    return text


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
Argument = Annotated[NoNul, AfterValidator(_argument)]
Variable = Annotated[NoNul, AfterValidator(_variable)]
Pattern = Annotated[ShortText, AfterValidator(_pattern)]
"""What `outputs` holds."""
RelativePath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(safe_path)]
Base64 = Annotated[str, AfterValidator(_base64)]
Interpreter = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
VariableName = Annotated[str, Field(max_length=LONGEST_SHORT_TEXT), AfterValidator(_variable_name)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")]
Labels = Annotated[dict[Label, ShortText], Field(max_length=32)]
