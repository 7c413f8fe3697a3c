"""The token with which the node joins a broker that asks for keys; later calls show the session's secret instead."""

from pathlib import Path

from agent.errors import BrokerRefusedError

LONGEST = 512  # bytes; a broker's own tokens have 66


class JoinToken:
    """From the settings, or from a file that is read at each registration: it may be changed while the agent runs."""

    def __init__(self, text: str | None, path: Path | None) -> None:
        self._text = text
        self._path = path

    def headers(self) -> dict[str, str]:
        """What a registration shows; nothing when there is no token. BrokerRefusedError when its file is no good."""
        token = self._text if self._path is None else self._read(self._path)
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    @staticmethod
    def _read(path: Path) -> str:
        try:
            token = path.read_bytes()[: LONGEST + 1].decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
            raise BrokerRefusedError(0, "no_token", f"NODE_TOKEN_FILE={path} cannot be read: {why}") from error
        if not token or len(token) > LONGEST or not token.isprintable() or " " in token:
            raise BrokerRefusedError(0, "no_token", f"NODE_TOKEN_FILE={path} must hold a join token and nothing else")
        return token
