"""Keys: who may call. All of them are held in memory, so that looking one up costs a hash and no read."""

import asyncio
import hmac
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from broker.clock import Clock
from broker.domain.keytext import hash_of, id_of, new_id, new_key
from broker.domain.limits import Limits
from broker.domain.principal import Principal, Role
from broker.errors import (
    BrokerError,
    ConflictError,
    ExpiredKeyError,
    InvalidFieldError,
    NotFoundError,
    RevokedKeyError,
    UnknownKeyError,
)
from broker.logs import EventLog
from broker.service.file_keys import FILE_KEYS, file_keys
from broker.settings import Settings
from broker.store.access import AccessStore
from broker.store.records.access import Key

__all__ = ["Held", "Keys", "Shown"]

log = EventLog(__name__)

MAX_KEYS = 10_000
LONGEST_GRACE_SECONDS = 30 * 86400
SAVE_SECONDS = 30.0
"""How late a key's last use may be written down."""


@dataclass(slots=True, eq=False)
class Held:
    """A key in memory."""

    key: Key
    principal: Principal
    limits: Limits
    """Its own; None in it means the settings'."""
    used: bool = False
    """Since it was last written down."""
    lasting: "set[asyncio.Event]" = field(default_factory=set)
    """Calls that last: to look again whether they still may, when something about the key or a login changed."""

    def look_again(self) -> None:
        """Tell the calls that last."""
        for event in self.lasting:
            event.set()


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller showed: a key, and which of its secrets. A rotation ends what was begun with the old one."""

    held: Held
    secret_hash: str


class Keys:
    """All keys: makes, rotates, revokes and recognises them."""

    def __init__(self, store: AccessStore, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._held: dict[str, Held] = {}
        self._changing = asyncio.Lock()
        """One change at a time: each reads a key, waits for the database, and puts its successor in the place."""

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    async def load(self) -> None:
        """Read the store's keys and the files'. StartError for a file that cannot be used."""
        for key in await self._store.keys():
            self._take(key)
        for key in file_keys(self._settings, self._clock.now()):
            self._take(key)
        if self._settings.auth == "required" and not any(self._is_live_admin(held) for held in self):
            log.warning("there is no admin key yet: make one with broker-keys create --role admin --name NAME")

    def find(self, key_id: str) -> Held:
        """A key by its id. NotFoundError."""
        held = self._held.get(key_id)
        if held is None:
            raise NotFoundError("Key not found")
        return held

    def recognise(self, text: str) -> Shown:
        """Whose key this is. UnknownKeyError, RevokedKeyError, ExpiredKeyError."""
        digest = hash_of(text)
        key_id = id_of(text)
        if key_id is None or key_id not in self._held:
            held = self._of_a_file(digest)
            if held is None:
                raise UnknownKeyError
        else:
            held = self._held[key_id]
        shown = Shown(held, digest)
        self.check(shown)
        if not held.used:
            held.used = True
        return shown

    def check(self, shown: Shown) -> None:
        """Whether what was shown is good. UnknownKeyError, RevokedKeyError, ExpiredKeyError."""
        now, key = self._clock.now(), shown.held.key
        if _secret_until(key, shown.secret_hash) <= now:
            raise UnknownKeyError
        self._check_key(key, now)

    def good_until(self, shown: Shown) -> float:
        """When it is good no more: infinity for never, minus infinity for already."""
        key = shown.held.key
        if key.revoked_at is not None:
            return -math.inf
        expiry = math.inf if key.expires_at is None else key.expires_at
        return min(expiry, _secret_until(key, shown.secret_hash))

    @staticmethod
    def _check_key(key: Key, now: float) -> None:
        if key.revoked_at is not None:
            raise RevokedKeyError
        if key.expires_at is not None and key.expires_at <= now:
            raise ExpiredKeyError

    async def create(self, name: str, role: Role, expires_in: float | None, limits: Limits) -> tuple[Held, str]:
        """A new key, and its text, which is told here and nowhere else."""
        if len(self._held) >= MAX_KEYS:
            raise ConflictError(f"There are {MAX_KEYS} keys already: rotate one instead.")
        now = self._clock.now()
        key_id = new_id()
        text = new_key(key_id)
        key = Key(
            id=key_id,
            name=name,
            role=role.value,
            secret_hash=hash_of(text),
            old_hash=None,
            old_until=None,
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
            revoked_at=None,
            last_used_at=None,
            limits=limits.to_json(),
        )
        await self._store.add(key)
        log.info("key was made", key=key.id, role=key.role)
        return self._take(key), text

    async def rotate(self, key_id: str, grace: float) -> tuple[Held, str]:
        """A new secret for a key; the present one is good for `grace` seconds more, an older one no longer."""
        if not 0 <= grace <= LONGEST_GRACE_SECONDS:
            raise InvalidFieldError("grace_seconds", f"grace_seconds is 0 to {LONGEST_GRACE_SECONDS}.")
        async with self._changing:
            held = self._changeable(key_id)
            now = self._clock.now()
            self._check_key(held.key, now)
            text = new_key(key_id)
            until = now + grace
            await self._change(
                replace(held.key, secret_hash=hash_of(text), old_hash=held.key.secret_hash, old_until=until)
            )
        held.look_again()
        log.info("key has a new secret", key=key_id)
        return held, text

    async def set_limits(self, key_id: str, limits: Limits) -> Held:
        """Other limits for a key; what is None in them is the settings' again."""
        async with self._changing:
            held = self._changeable(key_id)
            await self._change(replace(held.key, limits=limits.to_json()))
        return held

    async def revoke(self, key_id: str) -> Held:
        """End a key for good; calls that wait or stream with it end. Doing so again is harmless."""
        async with self._changing:
            held = self._changeable(key_id)
            if held.key.revoked_at is None:
                await self._change(replace(held.key, revoked_at=self._clock.now()))
        held.look_again()
        log.info("key was revoked", key=key_id)
        return held

    def date_uses(self) -> None:
        """Let keys that were used since then say so already: whoever looks at the list has just used one."""
        now = self._clock.now()
        for held in self:
            if held.used:
                held.key = replace(held.key, last_used_at=now)

    async def save_uses(self) -> None:
        """Write down which keys were used since the last time."""
        now = self._clock.now()
        used = [held for held in self if held.used]
        for held in used:
            held.used = False
            held.key = replace(held.key, last_used_at=now)
        stored = {held.key.id: now for held in used if held.key.id not in FILE_KEYS.values()}
        if stored:
            await self._store.touch(stored)

    async def run(self) -> None:
        """Write down uses now and then, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                await self.save_uses()
            except BrokerError as error:
                log.warning("the keys' last uses were not written down", error=error.message)

    def _take(self, key: Key) -> Held:
        held = Held(key, Principal(key.id, Role(key.role)), Limits.from_json(key.limits))
        self._held[key.id] = held
        return held

    async def _change(self, key: Key) -> None:
        await self._store.change(key)
        held = self._held[key.id]
        held.key = replace(key, last_used_at=held.key.last_used_at)
        held.limits = Limits.from_json(key.limits)

    def _changeable(self, key_id: str) -> Held:
        if key_id in FILE_KEYS.values():
            raise ConflictError(f"{key_id} comes from a file: change the file and restart the broker.")
        return self.find(key_id)

    def _is_live_admin(self, held: Held) -> bool:
        expired = held.key.expires_at is not None and held.key.expires_at <= self._clock.now()
        return held.principal.role is Role.ADMIN and held.key.revoked_at is None and not expired

    def _of_a_file(self, digest: str) -> Held | None:
        found = (held for name in FILE_KEYS.values() if (held := self._held.get(name)) is not None)
        return _first_match(found, digest)


def _first_match(candidates: Iterable[Held], digest: str) -> Held | None:
    for held in candidates:
        if hmac.compare_digest(held.key.secret_hash, digest):
            return held
    return None


def _secret_until(key: Key, digest: str) -> float:
    """How long a hash stands for the key: for ever; until the grace of a rotation is over; minus infinity for never."""
    if hmac.compare_digest(key.secret_hash, digest):
        return math.inf
    if key.old_hash is not None and key.old_until is not None and hmac.compare_digest(key.old_hash, digest):
        return key.old_until
    return -math.inf
