"""The files that a job was submitted with, fetched from the broker to this node's disk for as long as sandrun needs."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.attempts import Attempt
from agent.backoff import Backoff
from agent.errors import BrokerAwayError, InputLostError
from agent.logs import EventLog
from agent.model import Upload
from agent.transfers import Transfers

LOG = EventLog("agent.inputs")

RETRY_BASE, RETRY_CAP = 0.2, 5.0
ROOM_BYTES = 64 << 20  # left free on the disk beside what is fetched


class Inputs:
    """`folder` is emptied at the start; None: a folder of the temporary directory."""

    def __init__(self, transfers: Transfers, folder: Path | None) -> None:
        self._transfers = transfers
        self._folder = (folder or Path(tempfile.gettempdir())) / "inputs"
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def fetched(self, attempt: Attempt) -> Iterator[list[tuple[str, Path]]]:
        """(name, file) of each upload, removed afterwards. InputLostError when one cannot be had while it is wanted."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            wanted = sum(upload.size for upload in attempt.job.uploads)
            if shutil.disk_usage(place).free < wanted + ROOM_BYTES:
                raise InputLostError(f"this node's disk has no room for {wanted} bytes of input")
            files = []
            for number, upload in enumerate(attempt.job.uploads):
                target = place / str(number)
                self._fetch(attempt, upload, target)
                files.append((upload.name, target))
            yield files
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _fetch(self, attempt: Attempt, upload: Upload, target: Path) -> None:
        backoff = Backoff(RETRY_BASE, RETRY_CAP)
        wrong = 0
        while not attempt.stopping.is_set() and not attempt.settled and not attempt.session.lease.over:
            try:
                self._transfers.fetch(attempt.session.who, attempt.key, upload, target)
            except BrokerAwayError as error:
                LOG.warning("input_waits", **attempt.key.facts, error=str(error))
            else:
                if target.stat().st_size == upload.size and _sha256(target) == upload.sha256:
                    return
                if target.stat().st_size >= upload.size:
                    target.unlink()
                    wrong += 1
                if wrong > 1:
                    raise InputLostError("an input arrives with another checksum again and again")
            attempt.stopping.wait(backoff.next())
        raise InputLostError("the input was not fetched before the attempt was over")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
