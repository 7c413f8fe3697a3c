"""compose.yaml as docker-py arguments, so that the tests run the services exactly as users do.

Only the keys that compose.yaml uses are translated; an unknown key fails the tests instead of being dropped silently.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Handled by the bundle itself (networks, ports, order of start) or meaningless for a single container.
_HANDLED_ELSEWHERE = {
    "build", "command", "container_name", "depends_on", "entrypoint", "environment", "healthcheck",
    "image", "logging", "networks", "ports", "restart", "stop_grace_period", "volumes",
}  # fmt: skip


def load_service(name: str) -> dict[str, Any]:
    """The service as `docker compose config` resolves it: anchors merged, defaults filled in."""
    command = ["docker", "compose", "--project-directory", str(ROOT), "config", "--format", "json"]
    resolved = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    service: dict[str, Any] = resolved["services"][name]
    return service


def environment(name: str) -> dict[str, str]:
    """The service's environment in compose.yaml."""
    return {key: str(value) for key, value in load_service(name).get("environment", {}).items()}


def container_arguments(name: str) -> dict[str, Any]:
    """Keyword arguments of docker-py's `containers.create` that give the service's isolation and limits."""
    service = load_service(name)
    arguments: dict[str, Any] = {}
    for key, value in service.items():
        if key in _HANDLED_ELSEWHERE:
            continue
        arguments.update(_translate(key, value))
    return arguments


def unmasks_proc(name: str) -> bool:
    """True when the service asks for systempaths=unconfined, which docker-py has no argument for."""
    return "systempaths=unconfined" in load_service(name).get("security_opt", [])


def _translate(key: str, value: Any) -> dict[str, Any]:
    match key:
        case "read_only" | "user" | "cap_drop" | "init" | "pids_limit" | "mem_limit" | "memswap_limit":
            return {key: int(value) if key.startswith("mem") else value}
        case "cpus":
            return {"nano_cpus": int(float(value) * 1e9)}
        case "tmpfs":
            return {"tmpfs": dict(entry.split(":", 1) for entry in value)}
        case "security_opt":
            return {
                "security_opt": [_security_option(option) for option in value if not option.startswith("systempaths")]
            }
        case _:
            raise ValueError(f"compose.yaml has a key that the tests do not know how to apply: {key}")


def _security_option(option: str) -> str:
    """The engine wants a seccomp profile's text, where compose takes its path."""
    name, separator, value = option.replace("=", ":", 1).partition(":")
    if name == "seccomp" and separator:
        value = (ROOT / value).read_text()
    return f"{name}={value}"
