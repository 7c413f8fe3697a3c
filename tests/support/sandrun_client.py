"""A program for one sandrun, written from its API's description."""

import json
from typing import Any

import requests
from websockets.sync.client import connect

from support.archives import tar_gz
from support.waiting import wait_until


class SandrunClient:
    """A program for one sandrun, written from its API's description: it knows nothing of brokers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def run(self, files: dict[str, bytes], manifest: dict[str, Any] | None, *, packed: bool = True) -> dict[str, Any]:
        """Submit a directory, as an archive or file by file; poll; fetch everything in every way."""
        whole: list[Any] = [("files", ("project.tar.gz", tar_gz(files)))]
        parts = whole if packed else [("files", (name, data)) for name, data in files.items()]
        parts += [("manifest", (None, json.dumps(manifest)))] if manifest is not None else []
        answer = self.http.post(f"{self.url}/submit", files=parts, timeout=60).json()
        assert answer["status"] == "queued"
        job_id = answer["job_id"]

        def ended() -> dict[str, Any] | None:
            status = self.http.get(f"{self.url}/status/{job_id}", timeout=60).json()
            assert status["status"] in ("queued", "running", "completed", "failed")
            return status if status["status"] in ("completed", "failed") else None

        status = wait_until(ended, seconds=200, what=f"{job_id} ends")
        listed = self.http.get(f"{self.url}/outputs/{job_id}", timeout=60).json()
        left = {}
        for file in listed["files"]:
            left[file["name"]] = self.http.get(f"{self.url}{file['download_url']}", timeout=60).content
        return {
            "status": status,
            "logs": self.http.get(f"{self.url}/logs/{job_id}", timeout=60).json(),
            "files": left,
            "archive": self.http.get(f"{self.url}/download/{job_id}", timeout=60).content,
            "frames": self._frames(job_id),
        }

    def _frames(self, job_id: str) -> list[str]:
        with connect(f"{self.url.replace('http', 'ws', 1)}/stream/{job_id}", proxy=None, open_timeout=60) as socket:
            return [str(frame) for frame in socket]
