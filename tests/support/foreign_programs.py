"""What the stand-in runs: uploads unpacked, a manifest poorly read, a plain process without limits or isolation."""

import contextlib
import fnmatch
import hashlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from support import multipart

ENTRYPOINTS = ("main.py", "index.js", "run.sh")
BY_EXTENSION = {".py": "python3", ".js": "node", ".sh": "bash"}
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""A program must not outlive a stand-in that is killed."""


def poor_manifest(text: str) -> dict[str, Any]:
    """Strings and arrays of strings by pattern, as the original reads them; everything else does not exist."""
    found: dict[str, Any] = dict(re.findall(r'"(\w+)"\s*:\s*"([^"]*)"', text))
    for name, inner in re.findall(r'"(\w+)"\s*:\s*\[([^\]]*)\]', text):
        found[name] = re.findall(r'"([^"]*)"', inner)
    return found


def read_upload(content_type: str, body: bytes, folder: Path) -> str | None:
    """Store the parts; the manifest's text, None without one."""
    folder.mkdir(parents=True)
    manifest = None
    for field, file_name, content in multipart.parts(content_type, body):
        name = file_name or ""
        if field == "manifest":
            manifest = content.decode()
        elif name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(folder, filter="data")
        elif name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                zipped.extractall(folder)
        else:
            (folder / Path(name).name).write_bytes(content)
    return manifest


class Program:
    """One job."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.created = time.monotonic()
        self.status = "queued"
        self.stdout = self.stderr = ""
        self.cpu_seconds = 0.0
        self._folder = folder
        self._manifest = manifest
        self._exit_code = 0
        self._wall = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._given = self._files()
        there = (name for name in ENTRYPOINTS if (folder / name).exists())
        self._entrypoint: str = manifest.get("entrypoint") or next(there, "")
        named = manifest.get("interpreter") or BY_EXTENSION.get(Path(self._entrypoint).suffix)
        self._interpreter: str = named or "python3"

    def run(self) -> None:
        """To its end, however long that takes."""
        command = sys.executable if self._interpreter == "python3" else self._interpreter
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.Popen(
            [*DIES_WITH_PARENT, command, self._entrypoint, *self._manifest.get("args", ())],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        stdout, stderr = process.communicate()
        self._exit_code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        self.stdout, self.stderr = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._wall = time.monotonic() - began
        self.cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.status = "failed" if self._exit_code else "completed"

    def kill(self) -> None:
        """Its whole session, when it runs: nobody waits for the end of a program whose test is over."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def document(self) -> dict[str, Any]:
        """/status."""
        metadata = {
            "cpu_seconds": self.cpu_seconds,
            "memory_peak_bytes": 0,
            "memory_peak_mb": 0,
            "wall_time_ms": int(self._wall * 1000),
            "exit_code": self._exit_code,
            "environment": self._manifest.get("environment", ""),
            "interpreter": self._interpreter,
        }
        return {
            "status": self.status,
            "queue_position": 0,
            "execution_metadata": metadata,
            "job_hash": self._hash(),
            "output_files": {path: _described(self._folder / path) for path in self._outputs()},
            "worker_metadata": {"worker_id": None, "signature": None},
        }

    def listing(self, job_id: str) -> dict[str, Any]:
        """/outputs."""
        files = [
            {
                "name": path,
                "size": (self._folder / path).stat().st_size,
                "size_formatted": "",
                "type": "other",
                "mime_type": "application/octet-stream",
                "download_url": f"/download/{job_id}/{path}",
            }
            for path in self._outputs()
        ]
        return {"status": self.status, "total_files": len(files), "files": files}

    def output(self, path: str) -> bytes | int:
        """One file; 403 or 404."""
        file = (self._folder / unquote(path)).resolve()
        if not file.is_relative_to(self._folder.resolve()):
            return 403
        return file.read_bytes() if file.is_file() else 404

    def packed(self) -> bytes:
        """Every output as tar.gz."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path in self._outputs():
                archive.add(self._folder / path, path)
        return buffer.getvalue()

    def _files(self) -> set[str]:
        return {str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file()}

    def _outputs(self) -> list[str]:
        if self.status == "queued":
            return []
        globs = self._manifest.get("outputs")
        if not globs:
            return sorted(path for path in self._files() - self._given if not path.endswith(".pyc"))
        return sorted(path for path in self._files() if any(_fits(path, glob) for glob in globs))

    def _hash(self) -> str:
        words = (self._entrypoint, self._interpreter, self._manifest.get("environment", ""))
        head = "|".join((*words, *self._manifest.get("args", ()), ""))
        file = self._folder / self._entrypoint
        return hashlib.sha256(head.encode() + (file.read_bytes() if file.is_file() else b"")).hexdigest()


def _fits(path: str, glob: str) -> bool:
    return path.startswith(glob) if glob.endswith("/") else fnmatch.fnmatch(path, glob)


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "type": "other"}
