"""Looks for secrets in every layer of images, also in files that a later layer deleted, and in their configuration.

`python3 deploy/image_secrets.py IMAGE ...` prints what it found and ends with 1. Standard library and docker only.
Found are: private keys, keys of this broker and of the usual services, the contents of deploy/secrets, files that
hold credentials by their name, and values in the environment that are called a secret.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

SECRETS = Path(__file__).with_name("secrets")
LONGEST_FILE = 4 * 1024 * 1024
"""Bytes of a file that are looked at; programs are larger, secrets are not."""
CONTENTS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(?:[A-Za-z-]+: [^\n]*\n+)*[A-Za-z0-9+/]{40}"
    rb"|sbk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"
    rb"|npm_[0-9A-Za-z]{36}|AKIA[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{36}|glpat-[0-9A-Za-z_-]{20}|xox[baprs]-[0-9A-Za-z-]{20}"
)
HINTS = (b"PRIVATE KEY-----", b"sbk_", b"AKIA", b"npm_", b"gh", b"glpat-", b"xox")
"""A file without any of these is not searched further: a plain search is ten times as quick."""
NAMES = re.compile(
    r"(^|/)(\.env|\.netrc|\.pypirc|\.pgpass|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|\.git/config"
    r"|\.docker/config\.json|\.aws/credentials|secrets/(admin_key|join_token|tls_key))$"
)
VARIABLES = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE)", re.IGNORECASE)


def own_secrets() -> list[bytes]:
    """The contents of this machine's deploy/secrets."""
    try:
        texts = [path.read_bytes().strip() for path in SECRETS.iterdir() if path.name != "root.crt"]
    except OSError:
        return []
    return [text for text in texts if len(text) >= 16]


def in_file(name: str, content: IO[bytes] | None, known: list[bytes]) -> str | None:
    """Why a file is suspicious."""
    if NAMES.search(name):
        return "its name"
    data = content.read(LONGEST_FILE) if content is not None else b""
    if any(secret in data for secret in known):
        return "a secret of deploy/secrets"
    if any(hint in data for hint in HINTS) and (found := CONTENTS.search(data)):
        return f"looks like {found[0][:12].decode('latin-1')}…"
    return None


class Rest:
    """A stream of which the beginning was read already."""

    def __init__(self, begin: bytes, stream: IO[bytes]) -> None:
        self._begin = begin
        self._stream = stream

    def read(self, size: int) -> bytes:
        """The next bytes."""
        begin, self._begin = self._begin, b""
        return begin + self._stream.read(size - len(begin))


def in_layers(archive: IO[bytes]) -> Iterator[str]:
    """What is found in the stream of `docker save`."""
    known = own_secrets()
    with tarfile.open(fileobj=archive, mode="r|") as image:
        for member in image:
            stream = image.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            if member.name.endswith(".json"):
                yield from in_configuration(member.name, stream.read())
            elif member.name.endswith("layer.tar") or member.name.startswith("blobs/"):
                yield from in_layer(member.name, stream, known)


def in_layer(name: str, stream: IO[bytes], known: list[bytes]) -> Iterator[str]:
    """What is found in one layer. Newer Docker keeps configurations among the layers: they begin like JSON."""
    begin = stream.read(1)
    if begin == b"{":
        yield from in_configuration(name, begin + stream.read())
        return
    with tarfile.open(fileobj=Rest(begin, stream), mode="r|*") as layer:  # type: ignore[call-overload]
        for file in layer:
            if why := in_file(file.name, layer.extractfile(file) if file.isfile() else None, known):
                yield f"layer {name[:19]}: {file.name}: {why}"


def in_configuration(name: str, text: bytes) -> Iterator[str]:
    """What is found in an image's environment and the commands that made it."""
    try:
        content = json.loads(text)
    except ValueError:
        return
    if not isinstance(content, dict) or "history" not in content:
        return
    for variable in content.get("config", {}).get("Env") or []:
        key, _, value = variable.partition("=")
        if VARIABLES.search(key) and value and not key.endswith("_FILE"):
            yield f"{name[:19]}: the environment holds {key}"
    for step in content["history"]:
        if CONTENTS.search(str(step.get("created_by", "")).encode()):
            yield f"{name[:19]}: a build step holds a secret"


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    command = ["docker", "save", *parser.parse_args().images]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as save:
        assert save.stdout is not None
        found = list(in_layers(save.stdout))
    print("\n".join(found) or "no secret in any layer")
    return 1 if found or save.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
