"""One session being served: its heartbeat, its link and its claims, each in a thread of its own."""

from collections.abc import Callable
from typing import Any

from agent.attempts import Attempt
from agent.claimer import Claimer
from agent.clock import Clock
from agent.heartbeat import Heartbeat
from agent.lease import Session
from agent.link import Link
from agent.parts import Parts
from agent.threads import Crash


class Serving:
    """Starts the three threads; they end when the session is over."""

    def __init__(
        self,
        session: Session,
        parts: Parts,
        *,
        clock: Clock,
        retry_cap: float,
        ready: Callable[[], bool],
        start: Callable[[Attempt], None],
        condition: Callable[[], dict[str, Any]],
    ) -> None:
        self.session = session
        self._outbox = parts.outbox
        self.heartbeat = Heartbeat(
            session,
            broker=parts.broker,
            clock=clock,
            attempts=parts.attempts,
            orders=parts.orders,
            live=parts.live,
            condition=condition,
            retry_cap=retry_cap,
        )
        self.link = Link(
            session,
            broker=parts.broker,
            orders=parts.orders,
            live=parts.live,
            on_broken=self.heartbeat.poke,
            on_reopened=self._broker_is_back,
            retry_cap=retry_cap,
        )
        self.claimer = self._claimer(parts, retry_cap, ready, start)

    def _claimer(
        self, parts: Parts, retry_cap: float, ready: Callable[[], bool], start: Callable[[Attempt], None]
    ) -> Claimer:
        return Claimer(
            self.session,
            broker=parts.broker,
            attempts=parts.attempts,
            slots=parts.slots,
            ready=ready,
            permitted=lambda: not parts.watch.description.foreign or parts.sandrun.may_submit(),
            start=start,
            on_drain=lambda: parts.orders.drain(True),
            on_given_up=self.heartbeat.poke,
            retry_cap=retry_cap,
            metrics=parts.metrics,
        )

    def start(self, crash: Crash) -> None:
        """Begin."""
        crash.spawn("heartbeat", self.heartbeat.run)
        crash.spawn("link", self.link.run)
        crash.spawn("claim", self.claimer.run)

    def _broker_is_back(self) -> None:
        """Whatever waits for a broker that was away need wait no longer."""
        self.heartbeat.poke()
        self.claimer.retry()
        self._outbox.hurry()

    def close(self, reason: str) -> None:
        """End the session here, whatever the broker thinks of it; the threads leave as soon as they can."""
        self.session.end(reason)
        self.heartbeat.poke()
        self.link.close()
        self.claimer.wake()
        self.claimer.retry()
        self.claimer.give_up()
