"""The command broker-keys' way in: a Unix socket beside the database that only the broker's own user can open.

Who can open it could read the database as well, so it asks for no key: that is how the first admin key is made. One
line of JSON is asked, one is answered: {"command": "create" | "list" | "rotate" | "limits" | "revoke", …}.
"""

import asyncio
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from broker.api.keys import key_json, keys_json, make_key, revoke_key, rotate_key
from broker.errors import BrokerError
from broker.logs import EventLog
from broker.service.broker import Broker
from broker.settings import Settings
from broker.wire.keys import CreateKey, KeyLimits, RotateKey

__all__ = ["AdminSocket", "socket_path"]

log = EventLog(__name__)

LONGEST_LINE = 16 * 1024
SECONDS = 10
"""For a whole exchange."""
LONGEST_PATH = 100
"""Bytes; the kernel takes 107."""


def socket_path(settings: Settings) -> Path:
    """Where the socket is."""
    return settings.admin_socket or settings.database.parent / "admin.sock"


class _Ask(BaseModel):
    """A command."""

    model_config = ConfigDict(extra="forbid")

    command: str
    key_id: str = ""
    body: dict[str, Any] = {}
    evict: bool = False


class AdminSocket:
    """Listens from start to stop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._path = socket_path(broker.settings)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a broker that cannot serves all the same, and says what is missing."""
        try:
            if len(os.fsencode(self._path)) > LONGEST_PATH:
                raise OSError(f"its path has more than {LONGEST_PATH} bytes: name a shorter one in BROKER_ADMIN_SOCKET")
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # The mode of the socket itself, before anybody can connect to it.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LONGEST_LINE)
        except OSError as error:
            log.warning("broker-keys cannot reach this broker: its socket cannot be made", path=self._path, error=error)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                if _user_of(writer) not in (0, os.getuid()):
                    return
                answer = await self._answer(await reader.readline())
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            log.info("an exchange on the admin socket broke off")
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            ask = _Ask.model_validate_json(line)
            return await self._obey(ask)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return {"error": f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"}
        except BrokerError as error:
            return {"error": error.message}

    async def _obey(self, ask: _Ask) -> dict[str, Any]:
        broker = self._broker
        match ask.command:
            case "create":
                return await make_key(broker, CreateKey.model_validate(ask.body))
            case "list":
                return {"keys": keys_json(broker), "auth": broker.settings.auth}
            case "rotate":
                return await rotate_key(broker, ask.key_id, RotateKey.model_validate(ask.body))
            case "limits":
                wanted = KeyLimits.model_validate(ask.body).record()
                return key_json(await broker.keys.set_limits(ask.key_id, wanted))
            case "revoke":
                return await revoke_key(broker, ask.key_id, evict=ask.evict)
            case _:
                return {"error": f"unknown command {ask.command[:50]!r}"}


def _user_of(writer: asyncio.StreamWriter) -> int:
    """The user id of the process on the other side, from the kernel."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])
