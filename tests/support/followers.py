"""Live output as server-sent events, read to the end."""

import json
from typing import Any

import requests

from support.bundle import Bundle


def follow(bundle: Bundle, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All events to the end."""
    events: list[tuple[str, dict[str, Any]]] = []
    with requests.get(
        f"{bundle.url}/logs/{job_id}", headers={"Accept": "text/event-stream"}, stream=True, timeout=150
    ) as answer:
        kind = ""
        for line in answer.iter_lines(chunk_size=1):
            name, _, value = line.decode().partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
    return events


def printed(events: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(data["text"] for kind, data in events if kind == "stdout")
