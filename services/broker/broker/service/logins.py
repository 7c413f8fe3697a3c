"""Logins of the dashboard: a key is shown once, and a cookie stands for it for hours. In memory only: a broker that
starts again asks again. A login ends with its key.
"""

from dataclasses import dataclass

from broker.clock import Clock
from broker.errors import OverloadedError, UnauthorizedError, UnknownKeyError
from broker.service.keys import Held, Keys
from broker.service.sessions import hash_token, new_token
from broker.settings import Settings

__all__ = ["Login", "Logins"]

MAX_LOGINS = 10_000


@dataclass(frozen=True, slots=True)
class Login:
    """Who is logged in, and until when."""

    held: Held
    until: float


class Logins:
    """All logins, by the hash of their cookie."""

    def __init__(self, keys: Keys, clock: Clock, settings: Settings) -> None:
        self._keys = keys
        self._clock = clock
        self._seconds = settings.login_seconds
        self._logins: dict[str, Login] = {}

    def __len__(self) -> int:
        return len(self._logins)

    def begin(self, held: Held) -> str:
        """Log a key's holder in; the answer is the cookie's value. OverloadedError."""
        now = self._clock.now()
        if len(self._logins) >= MAX_LOGINS:
            self._logins = {name: login for name, login in self._logins.items() if login.until > now}
            if len(self._logins) >= MAX_LOGINS:
                raise OverloadedError("Too many are logged in: use the key itself.")
        cookie = new_token()
        self._logins[hash_token(cookie)] = Login(held, now + self._seconds)
        return cookie

    def find(self, cookie: str) -> Login:
        """The login that a cookie stands for. UnknownKeyError, and the errors of its key."""
        name = hash_token(cookie)
        login = self._logins.get(name)
        if login is None or login.until <= self._clock.now():
            self._logins.pop(name, None)
            raise UnknownKeyError("The login is over: log in again.")
        try:
            self._keys.check(login.held)
        except UnauthorizedError:
            del self._logins[name]
            raise
        login.held.used = True
        return login

    def end(self, cookie: str) -> None:
        """Log out."""
        self._logins.pop(hash_token(cookie), None)
