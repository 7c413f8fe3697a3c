"""What the API shows of a job. Pure: records in, JSON-ready values out."""

from __future__ import annotations

import base64
from typing import Any

from sandrun.jobs.job import Job
from sandrun.sandbox.output import Captured, OutputBuffer, Slice
from sandrun.sandbox.spec import MIB

__all__ = ["cut_marker", "logs", "raw_logs", "status", "stream_text"]


def status(job: Job, queue_position: int, worker_id: str | None) -> dict[str, Any]:
    """The body of `GET /status/{job_id}`."""
    return {
        "job_id": job.id,
        "status": job.status.value,
        "queue_position": queue_position,
        "execution_metadata": execution_metadata(job),
        "job_hash": job.job_hash,
        "output_files": {
            path: {"size_bytes": file.size, "sha256": file.sha256, "type": file.mime_type}
            for path, file in sorted(job.collected.items())
        },
        "output_notes": job.collect_notes,
        "output_dropped": [{"path": each.path, "size_bytes": each.size, "reason": each.reason} for each in job.dropped],
        "worker_metadata": {"worker_id": worker_id, "signature": job.signature},
    }


def execution_metadata(job: Job) -> dict[str, Any]:
    """Figures and verdict; the verdict's fields are null until the job has ended."""
    outcome = job.outcome
    shown: dict[str, Any] = {
        "cpu_seconds": round(outcome.cpu_seconds, 6) if outcome else 0.0,
        "memory_peak_bytes": outcome.memory_peak_bytes if outcome else 0,
        "memory_peak_mb": round(outcome.memory_peak_bytes / MIB, 2) if outcome else 0.0,
        "processes_peak": outcome.processes_peak if outcome else 0,
        "wall_time_ms": round(outcome.wall_seconds * 1000, 3) if outcome else 0.0,
        "exit_code": outcome.exit_code if outcome else None,
        "signal": int(outcome.signal) if outcome and outcome.signal is not None else None,
        "environment": job.manifest.environment or "",
        "interpreter": job.interpreter,
        "entrypoint": job.entrypoint,
        "failure": outcome.failure.value if outcome and outcome.failure else None,
        "limit_hit": None,
        "message": outcome.message if outcome else None,
        "stdout_bytes": job.stdout.total,
        "stderr_bytes": job.stderr.total,
    }
    if outcome and outcome.limit_hit:
        hit = outcome.limit_hit
        shown["limit_hit"] = {"name": hit.name, "value": hit.value, "peak": hit.peak}
    return shown


def logs(job: Job, stdout_from: int | None = None, stderr_from: int | None = None) -> dict[str, Any]:
    """Both streams. Without offsets: all that is kept, the cut marked; with one: what is kept from that byte on."""
    return {
        **_stream("stdout", job.stdout, stdout_from, final=job.status.terminal),
        **_stream("stderr", job.stderr, stderr_from, final=job.status.terminal),
    }


def raw_logs(job: Job, stdout_from: int, stderr_from: int) -> dict[str, Any]:
    """What is kept of both streams from these bytes on, byte for byte: no character is waited for."""
    shown: dict[str, Any] = {}
    for name, buffer, offset in (("stdout", job.stdout, stdout_from), ("stderr", job.stderr, stderr_from)):
        found = buffer.read_from(offset)
        shown |= {
            f"{name}_base64": base64.b64encode(found.data).decode("ascii"),
            f"{name}_bytes": buffer.total,
            f"{name}_from": found.start,
            f"{name}_next": found.next,
        }
    return shown


def cut_marker(cut_bytes: int) -> bytes:
    """What stands in the text where output was cut."""
    return b"\n[sandrun: %d bytes cut here]\n" % cut_bytes


def stream_text(found: Slice, *, final: bool) -> tuple[str, int]:
    """Live text and the offset to go on from. A character that has not arrived whole waits, unless `final`."""
    data = found.data if final else _whole_characters(found.data)
    return data.decode("utf-8", "replace"), found.start + len(data)


def _stream(name: str, buffer: OutputBuffer, offset: int | None, *, final: bool) -> dict[str, Any]:
    if offset is None:
        return _kept(name, buffer.captured())
    found = buffer.read_from(offset)
    data = found.data if final else _whole_characters(found.data)
    return {
        **_encoded(name, data, data),
        f"{name}_bytes": buffer.total,
        f"{name}_from": found.start,
        f"{name}_next": found.start + len(data),
    }


def _kept(name: str, kept: Captured) -> dict[str, Any]:
    if kept.cut:
        # A character halved by the cut is cut as a whole, if that makes both parts text.
        whole = Captured(_whole_characters(kept.head), _from_whole_character(kept.tail), kept.total)
        if _is_text(whole.head) and _is_text(whole.tail):
            kept = whole
    marked = kept.head + cut_marker(kept.cut) + kept.tail if kept.cut else kept.head + kept.tail
    return {
        **_encoded(name, marked, kept.head + kept.tail),
        f"{name}_bytes": kept.total,
        f"{name}_cut_bytes": kept.cut,
        f"{name}_cut_at": len(kept.head) if kept.cut else None,
    }


def _encoded(name: str, shown: bytes, exact: bytes) -> dict[str, Any]:
    """Text where the bytes are UTF-8; otherwise readable text and beside it the exact bytes in base64."""
    try:
        return {name: shown.decode("utf-8"), f"{name}_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {
            name: shown.decode("utf-8", "replace"),
            f"{name}_encoding": "base64",
            f"{name}_base64": base64.b64encode(exact).decode("ascii"),
        }


def _whole_characters(data: bytes) -> bytes:
    """Without the start of a UTF-8 character at the end (at most three bytes)."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:  # a continuation byte: its start is further back
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if needed > back else data
    return data


def _from_whole_character(data: bytes) -> bytes:
    """Without the rest of a UTF-8 character at the start (at most three bytes)."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
