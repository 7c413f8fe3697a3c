"""From a sandrun's word on a finished job to the completion the broker gets."""

from typing import Any

from agent.description import Description
from agent.model import FAILURES, Completion, Key, platform_failure

ENDED = ("completed", "failed")
# Characters kept of each stream of a foreign sandrun, half from the start, half from the end; ours keeps its own bound.
FOREIGN_STREAM = 1 << 20


def completion(key: Key, status: dict[str, Any], logs: dict[str, Any], description: Description) -> Completion:
    """What became of the attempt. `status` and `logs` are sandrun's documents of an ended job."""
    metadata = status.get("execution_metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    exit_code = _exit_code(status, metadata)
    failure = _failure(status, metadata, exit_code)
    if failure == "platform":
        message = metadata.get("message") or "sandrun reports a failed job without saying how it ended"
        return platform_failure(key, _clean(str(message)))
    output, error = _stream(logs, "stdout"), _stream(logs, "stderr")
    if description.foreign:
        output, error = _cut(output), _cut(error)
    limit = metadata.get("limit_hit")
    message = metadata.get("message")
    return Completion(
        key=key,
        failure=failure,
        exit_code=exit_code,
        output=output,
        error=error,
        limit=limit if isinstance(limit, dict) else None,
        usage=_usage(metadata),
        signal=_whole(metadata.get("signal")),
        output_bytes=_whole(metadata.get("stdout_bytes")),
        error_bytes=_whole(metadata.get("stderr_bytes")),
        message=_clean(str(message))[:500] if message else None,
        extra=_extra(status, metadata, logs),
    )


def _extra(status: dict[str, Any], metadata: dict[str, Any], logs: dict[str, Any]) -> dict[str, Any]:
    """The bytes of output that is no text, where it was cut, and what sandrun says of the run in its own words."""
    extra: dict[str, Any] = {}
    for stream, name in (("stdout", "output"), ("stderr", "error")):
        if isinstance(encoded := logs.get(f"{stream}_base64"), str):
            extra[f"{name}_base64"] = encoded
        if (cut_at := _whole(logs.get(f"{stream}_cut_at"))) is not None:
            extra[f"{name}_cut_at"] = cut_at
    worker = status.get("worker_metadata")
    said = {
        "job_hash": status.get("job_hash"),
        "environment": metadata.get("environment"),
        "entrypoint": metadata.get("entrypoint"),
        **({name: worker.get(name) for name in ("worker_id", "signature")} if isinstance(worker, dict) else {}),
    }
    execution = {name: value for name, value in said.items() if isinstance(value, str) and value}
    return extra | ({"execution": execution} if execution else {})


def _exit_code(status: dict[str, Any], metadata: dict[str, Any]) -> int | None:
    """`completed` means exit code 0, so a sandrun need not say it."""
    said = _whole(metadata.get("exit_code"))
    return 0 if said is None and status.get("status") == "completed" and metadata.get("failure") is None else said


def _failure(status: dict[str, Any], metadata: dict[str, Any], exit_code: int | None) -> str | None:
    """The sandbox's own verdict; without one, the status word and the exit code are all there is."""
    said = metadata.get("failure")
    if said in FAILURES:
        return str(said)
    if status.get("status") == "completed":
        return None
    # A failed job that has no exit code, or 0, never got as far as running its program.
    return "exit" if exit_code else "platform"


def _usage(metadata: dict[str, Any]) -> dict[str, Any]:
    wall_ms = _number(metadata.get("wall_time_ms"))
    usage = {
        "wall_seconds": None if wall_ms is None else wall_ms / 1000,
        "cpu_seconds": _number(metadata.get("cpu_seconds")),
        "memory_peak_bytes": _whole(metadata.get("memory_peak_bytes")),
    }
    return {name: value for name, value in usage.items() if value is not None}


def _stream(logs: dict[str, Any], name: str) -> str:
    value = logs.get(name)
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _cut(text: str) -> str:
    if len(text) <= FOREIGN_STREAM:
        return text
    half = FOREIGN_STREAM // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
