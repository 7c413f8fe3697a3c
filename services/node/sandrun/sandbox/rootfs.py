"""What a job sees as its file system: /usr of the node, an /etc of our own, and nothing else that exists outside."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

__all__ = ["GID", "HOSTNAME", "JOB_DIR", "SHM_DIR", "TMP_DIR", "UID", "USER", "ReadOnlyMount", "RootFs", "prepare"]

UID = GID = 1000
USER = "user"
HOSTNAME = "sandbox"
JOB_DIR = "/job"
TMP_DIR = "/tmp"  # noqa: S108 - the sandbox's own, as are the others
SHM_DIR = "/dev/shm"  # noqa: S108

ETC_FILES = {
    "passwd": f"{USER}:x:{UID}:{GID}::{JOB_DIR}:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
    "group": f"{USER}:x:{GID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    "hostname": f"{HOSTNAME}\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "timezone": "Etc/UTC\n",
    # Ruby and Perl hold back output into a pipe until they end; a job that is followed, or killed, must not.
    "stdio/flush.rb": "$stdout.sync = true\n",
    "stdio/flush.pm": "package flush; $| = 1; 1;\n",
}

#: Taken from the node as they are: the loader's cache (without it a start costs 1 ms more), Debian's alternatives.
ETC_COPIES = ("ld.so.cache", "alternatives", "ssl/openssl.cnf", "mime.types")

#: Top-level names, links into /usr on a merged-/usr system. Without sbin: a job has no use for it, and Docker mounts
#: its init there, which the job's list of mounts would show.
ROOT_NAMES = ("bin", "lib", "lib64", "lib32", "libx32")
USR_NAMES = ("bin", "lib", "lib64", "lib32", "libx32", "libexec", "local", "share")


@dataclass(frozen=True, slots=True)
class ReadOnlyMount:
    """A file or directory of the node, shown read-only at `target`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RootFs:
    """The read-only part of every sandbox, the same for all jobs."""

    mounts: tuple[ReadOnlyMount, ...]
    links: tuple[tuple[str, str], ...] = field(default=())  #: (content, name) of symbolic links
    directories: tuple[str, ...] = field(default=())  #: in which the mounts lie, outermost first


def prepare(directory: Path, extra: tuple[ReadOnlyMount, ...] = ()) -> RootFs:
    """Write the job's /etc as `directory` (replacing what an earlier run left) and list what to mount."""
    shutil.rmtree(directory, ignore_errors=True)
    for name, content in ETC_FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_text(content, encoding="ascii")
    for name in ETC_COPIES:
        _copy(Path("/etc") / name, directory / name)
    (directory / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    mounts, links = _usr_mounts()
    mounts += [ReadOnlyMount(str(directory), "/etc"), *extra]
    for name in ROOT_NAMES:
        path = Path("/") / name
        if path.is_symlink():
            links.append((str(path.readlink()).removeprefix("/"), f"/{name}"))
        elif path.is_dir():
            mounts.append(ReadOnlyMount(str(path), str(path)))
    parents = {
        str(parent) for mount in mounts for parent in PurePosixPath(mount.target).parents if len(parent.parts) > 1
    }
    return RootFs(tuple(mounts), tuple(links), tuple(sorted(parents)))


def _usr_mounts() -> tuple[list[ReadOnlyMount], list[tuple[str, str]]]:
    mounts, links = [], []
    for name in USR_NAMES:
        path = Path("/usr") / name
        if path.is_symlink():
            links.append((str(path.readlink()), str(path)))
        elif path.is_dir():
            mounts.append(ReadOnlyMount(str(path), str(path)))
    return mounts, links


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a directory of links (/etc/alternatives), if the node has it."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in os.scandir(source):
            if entry.is_symlink():
                (target / entry.name).symlink_to(Path(entry.path).readlink())
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
