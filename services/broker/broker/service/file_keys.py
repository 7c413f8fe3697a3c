"""Keys whose secrets come from files (Docker and Kubernetes secrets): they are there before anybody can call."""

import json
from collections.abc import Iterator
from pathlib import Path

from broker.domain.keytext import hash_of
from broker.domain.principal import Role
from broker.errors import StartError
from broker.settings import Settings
from broker.store.records.access import Key

__all__ = ["FILE_KEYS", "file_keys"]

SHORTEST_FILE_SECRET = 32
"""Characters of a secret in a file; 32 hexadecimal digits are 128 bits."""
FILE_KEYS = {Role.ADMIN: "file-admin", Role.NODE: "file-join", Role.METRICS: "file-metrics"}
"""Ids of the keys that come from files; they cannot be changed here."""
_FILE_VARIABLES = {
    Role.ADMIN: "BROKER_ADMIN_KEY_FILE",
    Role.NODE: "BROKER_JOIN_TOKEN_FILE",
    Role.METRICS: "BROKER_METRICS_KEY_FILE",
}


def file_keys(settings: Settings, now: float) -> Iterator[Key]:
    """Those that the settings name. StartError for a file that cannot be used."""
    files = {
        Role.ADMIN: settings.admin_key_file,
        Role.NODE: settings.join_token_file,
        Role.METRICS: settings.metrics_key_file,
    }
    for role, path in files.items():
        if path is not None:
            yield _file_key(role, path, now)


def _file_key(role: Role, path: Path, now: float) -> Key:
    variable = _FILE_VARIABLES[role]
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise StartError(f"{variable}={path} cannot be read: {why}") from None
    if len(text) < SHORTEST_FILE_SECRET or not text.isprintable() or " " in text:
        raise StartError(
            f"{variable}={path} must hold one secret of at least {SHORTEST_FILE_SECRET} letters and digits and nothing "
            "else: make it with openssl rand -hex 32"
        )
    name = path.name if len(path.name) <= 100 else "file"
    return Key(FILE_KEYS[role], name, role.value, hash_of(text), None, None, now, None, None, None, json.dumps({}))
