"""The parts of an agent that live as long as the process, put together in one place."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.artifacts import Artifacts
from agent.attempts import Attempts
from agent.broker_client import BrokerClient
from agent.clock import Clock
from agent.delivery import Delivery
from agent.description import Description
from agent.identity import IdentityFile, StateFolder
from agent.inputs import Inputs
from agent.join_token import JoinToken
from agent.lease import Session
from agent.live_output import LiveOutput
from agent.metrics import Metrics
from agent.model import Key
from agent.notices import StartNotices
from agent.orders import Orders
from agent.outbox import Outbox
from agent.registration import Registrar
from agent.runner import Runner
from agent.sandrun_client import SandrunClient
from agent.sandrun_watch import SandrunWatch
from agent.settings import Settings
from agent.settlement import Releases, Settlement
from agent.slots import Slots
from agent.spool import Spool
from agent.stopper import Stopper
from agent.strays import Strays
from agent.threads import Crash
from agent.tracing import Sink, Tracing
from agent.transfers import Transfers

SENDERS = 2  # attempts whose files are sent at a time


@dataclass(frozen=True)
class Hooks:
    """What the parts tell the agent."""

    wake: Callable[[], None]
    """Something that decides about claiming has changed."""
    session_over: Callable[[dict[str, Any], str], None]
    """The broker no longer knows the session of these `who` fields."""
    sandrun_up: Callable[[Description], None]
    sandrun_down: Callable[[str], None]
    sandrun_busy: Callable[[], None]


class Parts:
    """Everything that outlives a session."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        folder: StateFolder,
        crash: Crash,
        hooks: Hooks,
        sink: Sink | None = None,
    ) -> None:
        cap = settings.poll_interval
        self.sink = sink
        tracing = Tracing(sink)
        self.metrics = Metrics()
        self.broker = BrokerClient(
            settings.broker_url, clock, JoinToken(settings.token, settings.token_file), self.metrics
        )
        self.sandrun = SandrunClient(settings.sandrun_url)
        self.attempts = Attempts()
        self.outbox = Outbox(Spool(folder.path, settings.broker_url))
        self.registrar = Registrar(settings, self.broker, clock, IdentityFile(folder.path))

        def over(session: Session, reason: str) -> None:
            hooks.session_over(session.who, reason)

        def lost(key: Key, reason: str) -> None:
            self.orders.lost(key, reason)

        self.releases = Releases(self.broker, self.attempts, over)
        self.settlement = Settlement(self.attempts, self.outbox, self.releases, self.metrics, tracing)
        self.stopper = Stopper(self.sandrun, self.settlement, crash)
        self.orders = Orders(self.attempts, self.outbox, self.stopper, hooks.wake)
        self.notices = StartNotices(self.broker, lost, over)
        self.watch = SandrunWatch(self.sandrun, retry_cap=cap, on_up=hooks.sandrun_up, on_down=hooks.sandrun_down)
        transfers = Transfers(settings.broker_url, settings.sandrun_url)
        self.artifacts = Artifacts(transfers, self.sandrun, self.settlement, over)
        self.strays = Strays(folder.path, settings.sandrun_url)
        self.live = LiveOutput(self.sandrun, self.broker, self.attempts, crash)
        self.runner = self._runner(Inputs(transfers, folder.path), hooks.sandrun_busy)
        self.slots = Slots(self.runner.run, hooks.wake, crash, self.metrics.runs.observe)
        self.delivery = self._delivery(tracing, cap, hooks.session_over)

    def _runner(self, inputs: Inputs, on_busy: Callable[[], None]) -> Runner:
        return Runner(
            self.sandrun,
            self.watch,
            self.settlement,
            self.stopper,
            self.notices,
            inputs,
            self.artifacts,
            self.strays,
            on_busy=on_busy,
        )

    def _delivery(
        self, tracing: Tracing, retry_cap: float, on_session_over: Callable[[dict[str, Any], str], None]
    ) -> Delivery:
        return Delivery(
            self.broker,
            self.outbox,
            self.attempts,
            self.artifacts,
            self.metrics,
            tracing,
            retry_cap=retry_cap,
            on_session_over=on_session_over,
        )

    def start(self, crash: Crash, stop: threading.Event, deliverers: int) -> None:
        """Start the threads that run until `stop`."""
        crash.spawn("watch", lambda: self.watch.run(stop))
        crash.spawn("strays", lambda: self.strays.run(self.sandrun, self.watch, stop))
        crash.spawn("spool", lambda: self.outbox.keep_tidy(stop))
        crash.spawn("notices", lambda: self.notices.run(stop))
        crash.spawn("releases", lambda: self.releases.run(stop))
        for number in range(SENDERS):
            crash.spawn(f"files-{number + 1}", lambda: self.artifacts.run(stop))
        for number in range(deliverers):
            crash.spawn(f"deliver-{number + 1}", lambda: self.delivery.run(stop))
