"""`broker-keys`: makes, lists, rotates, limits and revokes keys of the broker that runs in this container or folder."""

import argparse
import json
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from broker.errors import StartError
from broker.settings import Settings, load_settings

__all__ = ["main"]

SECONDS = 15
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LIMITS = ("submissions_per_minute", "jobs_pending", "jobs_unfinished", "cpu_seconds_per_day", "stored_bytes")


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 when it was done, 1 when it was refused, 2 when the broker cannot be reached."""
    said = _parser().parse_args(arguments)
    try:
        path = _socket_path(load_settings())
        answer = _ask(path, _ask_of(said))
    except StartError as error:
        print(f"broker-keys: {error.message}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"broker-keys: no broker answers at {path} ({error}): is it running?", file=sys.stderr)
        return 2
    if "error" in answer:
        print(f"broker-keys: {answer['error']}", file=sys.stderr)
        return 1
    if said.json:
        print(json.dumps(answer, indent=2))
    else:
        _show(said.command, answer)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="broker-keys", description="Keys of the running broker (docs/keys.md).")
    parser.add_argument("--json", action="store_true", help="print the broker's whole answer")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and print it: it is shown once")
    create.add_argument("--name", required=True, help="what it is for")
    create.add_argument(
        "--role", choices=("client", "node", "metrics", "admin"), default="client", help="client unless set"
    )
    create.add_argument("--expires-in", type=_seconds, metavar="TIME", help="30d, 12h, 90m, 60s; never unless set")
    _add_limits(create)
    commands.add_parser("list", help="show all keys, without their secrets")
    rotate = commands.add_parser("rotate", help="give a key a new secret and print it")
    rotate.add_argument("id")
    rotate.add_argument("--grace", type=_seconds, default=3600.0, metavar="TIME", help="the old one stays good; 1h")
    limits = commands.add_parser("limits", help="set a key's own limits; those not named are the settings' again")
    limits.add_argument("id")
    _add_limits(limits)
    revoke = commands.add_parser("revoke", help="end a key for good")
    revoke.add_argument("id")
    revoke.add_argument("--evict", action="store_true", help="also put out the nodes that joined with it")
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for name in _LIMITS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help="0 for no limit")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: write a number and s, m, h or d, as in 30d")
    return float(int(found[1]) * _UNITS[found[2]])


def _ask_of(said: argparse.Namespace) -> dict[str, Any]:
    own = {name: getattr(said, name) for name in _LIMITS if getattr(said, name, None) is not None}
    match said.command:
        case "create":
            body = {"name": said.name, "role": said.role, "expires_in": said.expires_in, "limits": own}
            return {"command": "create", "body": body}
        case "rotate":
            return {"command": "rotate", "key_id": said.id, "body": {"grace_seconds": said.grace}}
        case "limits":
            return {"command": "limits", "key_id": said.id, "body": own}
        case "revoke":
            return {"command": "revoke", "key_id": said.id, "evict": said.evict}
        case _:
            return {"command": "list"}


def _socket_path(settings: Settings) -> Path:
    return settings.admin_socket or settings.database.parent / "admin.sock"


def _ask(path: Path, question: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(SECONDS)
        line.connect(str(path))
        line.sendall(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile("rb").readline() or b"null") or {"error": "refused"}
    return answer


def _show(command: str, answer: dict[str, Any]) -> None:
    match command:
        case "create" | "rotate":
            print(f"id {answer['id']}, role {answer['role']}, name {answer['name']}", file=sys.stderr)
            print("The key is shown this once:", file=sys.stderr)
            print(answer["key"])
        case "list":
            print(f"{'ID':12}  {'ROLE':7}  {'STATE':10}  {'LAST USED':20}  NAME")
            for key in answer["keys"]:
                used = (key["last_used_at"] or "never")[:19]
                print(f"{key['id']:12}  {key['role']:7}  {_state(key):10}  {used:20}  {key['name']}")
            if answer["auth"] != "required":
                print("BROKER_AUTH is off: nobody is asked for these keys.", file=sys.stderr)
        case "revoke":
            print(f"{answer['id']} was revoked; {len(answer['evicted_nodes'])} nodes were put out")
        case _:
            print(f"{answer['id']}: {json.dumps(answer['limits'])}")


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return "revoked"
    return f"to {key['expires_at'][:10]}"[:10] if key["expires_at"] else "good"
