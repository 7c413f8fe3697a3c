"""The node's Ed25519 identity: who vouches for a result."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

__all__ = ["Identity", "KeyFileError", "generate_key", "signed_text"]

KEY_MODE = 0o600
HOW_TO_MAKE = "one is made by sandrun --generate-key"


class KeyFileError(Exception):
    """The key file cannot be used. The text says why and what would help."""


class Identity:
    """A private key in memory."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.worker_id = base64.b64encode(public).decode("ascii")

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a key that `generate_key` wrote (PEM, PKCS #8). Raises KeyFileError."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise KeyFileError(f"cannot read the worker key: {error}; {HOW_TO_MAKE} {path}") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError(f"not an unencrypted PEM private key: {path}; {HOW_TO_MAKE} {path}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path} holds another kind of key; Ed25519 is needed")
        return cls(key)

    def sign(self, text: str) -> str:
        """Base64 of the Ed25519 signature over the text's UTF-8 bytes; odd file names count as the bytes they are."""
        return base64.b64encode(self._key.sign(text.encode("utf-8", "surrogateescape"))).decode("ascii")


def generate_key(path: Path) -> Identity:
    """Write a new private key that only its owner can read. Never overwrites: raises KeyFileError then."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, KEY_MODE)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already; a worker's key is its identity, so it is not replaced") from None
    except OSError as error:
        raise KeyFileError(f"cannot write the worker key: {error}") from None
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
    return Identity(key)


def signed_text(
    job_hash: str, exit_code: int | None, cpu_seconds: float, memory_mb: int, sha256_by_path: Mapping[str, str]
) -> str:
    """What is signed: `job_hash|exit_code|cpu_seconds|memory_mb|path:sha256|…`, paths sorted, CPU with six decimals.

    An exit code that does not exist, because the program was killed, is -1.
    """
    files = [f"{path}:{sha256_by_path[path]}" for path in sorted(sha256_by_path)]
    code = -1 if exit_code is None else exit_code
    return "|".join([job_hash, str(code), f"{cpu_seconds:.6f}", str(memory_mb), *files])
