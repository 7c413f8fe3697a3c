"""`broker-backup` writes a backup of the live broker to standard output; `restore` reads one into an empty volume."""

import signal
import sys
from collections.abc import Sequence

from broker.backup.make import make_backup
from broker.errors import StartError
from broker.settings import load_settings

__all__ = ["backup", "restore"]


def backup(arguments: Sequence[str]) -> int:
    """0 when the backup is whole, 1 when contents were damaged before, 2 when there is none."""
    if arguments or sys.stdout.isatty():
        print("usage: broker-backup >FILE: writes a backup of this broker, which may run, as a tar", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)  # so that what it made on the disk is removed
    try:
        settings = load_settings()
        manifest, end = make_backup(settings.database, settings.blob_folder, sys.stdout.buffer)
    except (StartError, OSError) as error:
        print(f"broker-backup: {_said(error)}; what was written is no backup", file=sys.stderr)
        return 2
    print(f"broker-backup: {manifest.jobs} jobs, {end.blobs} files' contents, {end.blob_bytes} bytes", file=sys.stderr)
    for name in end.damaged:
        print(
            f"broker-backup: the content {name} is damaged or lost: its jobs' files are not all here", file=sys.stderr
        )
    return 1 if end.damaged else 0


def restore(arguments: Sequence[str]) -> int:
    """0 when everything is in its place, 2 when nothing is."""
    if arguments or sys.stdin.isatty():
        print(
            "usage: restore <FILE: makes this broker's database, which must not be there, of a backup", file=sys.stderr
        )
        return 2
    # Only here: a backup, made beside a broker that works, need not load what migrates a database.
    from broker.backup.restore import restore_backup

    try:
        settings = load_settings()
        done = restore_backup(sys.stdin.buffer, settings.database, settings.blob_folder, settings.result_ttl)
    except (StartError, OSError) as error:
        print(f"restore: {_said(error)}; nothing was restored", file=sys.stderr)
        return 2
    print(
        f"restore: {done.manifest.jobs} jobs and {done.end.blobs} files' contents are back; {done.released} running "
        "attempts went back to the queue; every node registers again",
        file=sys.stderr,
    )
    return 0


def _end(number: int, _: object) -> None:
    raise OSError(f"ended by {signal.Signals(number).name}")


def _said(error: StartError | OSError) -> str:
    return error.message if isinstance(error, StartError) else str(error)
