"""Logins of the dashboard: a key is shown once, and a cookie stands for it for hours. In memory only: a broker that
starts again asks again. A login ends with its key, and with the secret that it began with.
"""

import math
from dataclasses import dataclass

from broker.clock import Clock
from broker.errors import OverloadedError, UnauthorizedError, UnknownKeyError
from broker.service.keys import Keys, Shown
from broker.service.sessions import hash_token, new_token
from broker.settings import Settings

__all__ = ["Login", "Logins"]

MAX_LOGINS = 10_000
MAX_LOGINS_OF_A_KEY = 100
"""A further one ends the oldest, so that one key's holder cannot use up everybody's."""


@dataclass(slots=True, eq=False)
class Login:
    """Who is logged in, and until when: minus infinity once it was ended."""

    shown: Shown
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

    def begin(self, shown: Shown) -> str:
        """Log a key's holder in; the answer is the cookie's value. OverloadedError."""
        now = self._clock.now()
        own = [name for name, login in self._logins.items() if login.shown.held is shown.held]
        for name in own[: max(0, len(own) + 1 - MAX_LOGINS_OF_A_KEY)]:
            self._end(name)
        if len(self._logins) >= MAX_LOGINS:
            self._logins = {name: login for name, login in self._logins.items() if login.until > now}
            if len(self._logins) >= MAX_LOGINS:
                raise OverloadedError("Too many are logged in: use the key itself.")
        cookie = new_token()
        self._logins[hash_token(cookie)] = Login(shown, now + self._seconds)
        return cookie

    def find(self, cookie: str) -> Login:
        """The login that a cookie stands for. UnknownKeyError, and the errors of its key."""
        name = hash_token(cookie)
        login = self._logins.get(name)
        if login is None or login.until <= self._clock.now():
            self._end(name)
            raise UnknownKeyError("The login is over: log in again.")
        try:
            self._keys.check(login.shown)
        except UnauthorizedError:
            self._end(name)
            raise
        login.shown.held.used = True
        return login

    def good_until(self, login: Login) -> float:
        """When it is good no more."""
        return min(login.until, self._keys.good_until(login.shown))

    def end(self, cookie: str) -> None:
        """Log out; the login's streams end."""
        self._end(hash_token(cookie))

    def _end(self, name: str) -> None:
        login = self._logins.pop(name, None)
        if login is not None:
            login.until = -math.inf
            login.shown.held.look_again()
