"""The gate behind the front door: looks at each request's rule (broker.api.access) when the broker asks for keys."""

import asyncio
import contextlib
import math

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.api.access import SCOPE_KEY, WEBSOCKET, Rule
from broker.api.caller import bucket
from broker.api.credentials import Caller, identify, node_of, node_principal, slowed
from broker.api.errors import HttpError, error_response
from broker.domain.principal import NOBODY, Role
from broker.errors import LimitError, NotFoundError, RevokedKeyError, WrongRoleError
from broker.service.broker import Broker
from broker.service.quotas import Rates
from broker.settings import Settings
from broker.shell.limits import parse_networks

__all__ = ["LONG_LIVED", "AddressRate", "Gate"]

LONG_LIVED = frozenset(
    {
        ("GET", "/events"),
        ("GET", "/logs/{job_id}"),
        ("GET", "/download/{job_id}"),
        ("GET", "/download/{job_id}/{path}"),
        (WEBSOCKET, "/stream/{job_id}"),
    }
)
"""Calls that may last, as do all that wait (`?wait=`): they end when their key is revoked or expires, when the secret
that they were begun with is replaced, or when their login is over. Others that are under way then are finished."""
OWNERS_REMEMBERED = 50_000
_ROLES = {
    Rule.CLIENT: (Role.CLIENT, Role.ADMIN),
    Rule.OWNER: (Role.CLIENT, Role.ADMIN),
    Rule.JOIN: (Role.NODE,),
    Rule.METRICS: (Role.METRICS, Role.ADMIN),
    Rule.ADMIN: (Role.ADMIN,),
}
_FOR = {
    Rule.CLIENT: "This call is for clients: use a key of role client or admin.",
    Rule.OWNER: "This call is for clients: use a key of role client or admin.",
    Rule.JOIN: "Nodes join with a join token: use a key of role node.",
    Rule.METRICS: "This call is for monitoring: use a key of role metrics or admin.",
    Rule.ADMIN: "This call is for admins: use a key of role admin.",
}


class Gate:
    """Lets requests through with their principal in the scope, or answers them itself."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._owners: dict[str, str | None] = {}
        """Of jobs that were asked for; an owner never changes."""

    async def pass_through(
        self, rule: Rule, lasts: bool, endpoint: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a request if its rule allows it. `lasts`: see LONG_LIVED."""
        try:
            caller = self._admit(rule, scope)
        except Exception as error:
            await error_response(slowed(error, scope, self._broker))(scope, receive, send)
            return
        if lasts and caller is not None:
            await self._bounded(caller, endpoint, scope, receive, send)
        else:
            await endpoint(scope, receive, send)

    def _admit(self, rule: Rule, scope: Scope) -> Caller | None:
        scope[SCOPE_KEY] = NOBODY
        if b"sbk_" in scope["query_string"]:
            raise HttpError(
                400,
                "A key has no place in a URL, where logs and histories keep it: revoke this one, and send keys in "
                "the header Authorization.",
            )
        if rule is Rule.PUBLIC:
            return None
        broker = self._broker
        if rule is Rule.NODE:
            scope[SCOPE_KEY] = node_principal(node_of(scope, broker.book))
            return None
        caller = identify(scope, broker.keys, broker.logins)
        if caller.principal.role not in _ROLES[rule]:
            raise WrongRoleError(_FOR[rule])
        if rule is Rule.OWNER and caller.principal.role is not Role.ADMIN:
            job_id = scope["path"].split("/", 3)[2]
            if self._owner_of(job_id) != caller.principal.id:
                raise NotFoundError
        scope[SCOPE_KEY] = caller.principal
        return caller

    def _owner_of(self, job_id: str) -> str | None:
        """The owner of a job; None when it has none or is unknown."""
        if job_id in self._owners:
            return self._owners[job_id]
        found = self._broker.store.access.owner_of(job_id)
        if found is None:
            return None
        if len(self._owners) >= OWNERS_REMEMBERED:
            self._owners.clear()
        self._owners[job_id] = found[0]
        return found[0]

    async def _bounded(self, caller: Caller, endpoint: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call that may last, until it ends by itself or its caller may call no more."""
        outlet = _Outlet(scope, receive, send)
        look_again, lasting = asyncio.Event(), caller.shown.held.lasting
        lasting.add(look_again)
        serving = asyncio.ensure_future(endpoint(scope, receive, outlet))
        serving.add_done_callback(lambda _: look_again.set())
        try:
            while not serving.done() and (left := self._seconds_left(caller)) > 0:
                look_again.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left if left < math.inf else None):
                        await look_again.wait()
            if not serving.done():
                serving.cancel()
                await asyncio.wait((serving,))
                await outlet.end()
        finally:
            lasting.discard(look_again)
            serving.cancel()
        if not serving.cancelled():
            serving.result()

    def _seconds_left(self, caller: Caller) -> float:
        logins, keys = self._broker.logins, self._broker.keys
        until = keys.good_until(caller.shown) if caller.login is None else logins.good_until(caller.login)
        return until - self._broker.clock.now()


class AddressRate:
    """Calls a minute from one address (BROKER_LIMIT_CALLS_PER_MINUTE)."""

    def __init__(self, settings: Settings) -> None:
        self._rates = Rates()
        self._most = settings.limit_calls_per_minute
        self._trusted = parse_networks(settings.trusted_proxies)

    def refuse(self, scope: Scope) -> Response | None:
        """429 when an address calls too often."""
        address = bucket(scope, self._trusted)
        if self._rates.hit("calls", address, self._most):
            return None
        left = self._rates.seconds_left("calls", address, self._most)
        message = f"This address may call {self._most} times a minute: try again in {left} s."
        return error_response(LimitError("calls_per_minute", message, left))


class _Outlet:
    """A call's way out, which knows how to end what was begun."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._begun = False
        self._over = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        self._begun = self._begun or kind in ("http.response.start", "websocket.accept")
        if kind == "websocket.close" or (kind == "http.response.body" and not message.get("more_body")):
            self._over = True
        await self._send(message)

    async def end(self) -> None:
        """Say that it is over: 401, the end of the stream, or WebSocket code 1008."""
        if self._over:
            return
        if not self._begun:
            await error_response(RevokedKeyError())(self._scope, self._receive, self._send)
        elif self._scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": 1008, "reason": "the key is no longer good"})
        else:
            # With a Content-Length that was promised and not kept, the server closes the connection instead.
            with contextlib.suppress(RuntimeError):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
