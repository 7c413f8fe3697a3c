"""The agent as a whole: lives through sessions, keeps to its lease, and leaves in order.

A thread of its own repeats: wait for sandrun, register, serve until the session is over.
"""

import threading
import time
from typing import Any

from agent import capabilities
from agent.attempts import Attempt, Stop
from agent.backoff import Backoff
from agent.clock import Clock
from agent.description import Description
from agent.errors import BrokerError
from agent.guard import Guard
from agent.health import Health
from agent.identity import StateFolder
from agent.lease import Session
from agent.liveness import LiveFile
from agent.logs import EventLog
from agent.model import platform_failure
from agent.parts import Hooks, Parts
from agent.registration import Offer
from agent.serving import Serving
from agent.settings import Settings
from agent.threads import Crash
from agent.tracing import Sink

LOG = EventLog("agent")

DELIVERERS = 2
LEFTOVER_SECONDS = 5.0
# Of NODE_LEAVE_SECONDS, after which the supervisor kills: for the last lines and traces, and a busy machine's lateness.
EXIT_SECONDS = 1.5
# Before that: for the last results to reach the disk and the last beat the broker, should either be slow or gone.
FAREWELL_SECONDS = 1.0
HURRIED_LEAVE_SECONDS = 5.5  # 3 s to give back and deliver
SANDRUN_SECONDS = 3.0  # for results to be delivered before sandrun's change ends their session
BUSY_BASE, BUSY_CAP = 5.0, 60.0
LEFT = "the node has left"


class Agent:
    """One node's agent. `start`, then `drain` to leave; `crash` tells when a part has failed beyond repair."""

    def __init__(
        self, settings: Settings, clock: Clock, folder: StateFolder, live: LiveFile, sink: Sink | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._live = live
        self.folder = folder
        self.crash = Crash()
        self.stopped = threading.Event()
        self._leaving = threading.Event()
        self._hurry = threading.Event()
        self._serving: Serving | None = None
        self._offer: Offer = ({}, 0)
        self._busy = Backoff(BUSY_BASE, BUSY_CAP)
        self._busy_until = 0.0
        hooks = Hooks(
            wake=self._wake,
            session_over=self._session_over,
            sandrun_up=self._sandrun_up,
            sandrun_down=self._sandrun_down,
            sandrun_busy=self._sandrun_busy,
        )
        self.parts = Parts(settings, clock, folder, self.crash, hooks, sink)
        self._health = Health(live, lambda: self.parts.watch.up, lambda: self.session)

    def start(self) -> None:
        """Begin in threads and return."""
        leftovers = self.parts.outbox.load()
        if leftovers:
            LOG.info("results_left_over", count=leftovers)
        self.parts.start(self.crash, self.stopped, DELIVERERS)
        guard = Guard(self.parts, lambda: self._serving)
        self.crash.spawn("guard", lambda: guard.run(self.stopped))
        self.crash.spawn("health", lambda: self._health.run(self.stopped))
        self.crash.spawn("sessions", self._live_through_sessions)

    def hurry(self) -> None:
        """Leave now: give running jobs no more time."""
        self._hurry.set()

    def drain(self) -> None:
        """Claim no more, let running jobs end within the grace, give the rest back, deliver everything, stop."""
        grace_ends = time.monotonic() + self._settings.drain_seconds
        LOG.info("draining", open=len(self.parts.attempts.open()), grace_seconds=self._settings.drain_seconds)
        self._leaving.set()
        serving = self._serving
        if serving is not None:
            serving.claimer.give_up()
            serving.heartbeat.poke()
        for attempt in self.parts.attempts.open():
            if self.parts.slots.withdraw(attempt):
                self.parts.settlement.release(attempt, "the node drains")
        while not self._hurry.is_set() and (left := grace_ends - time.monotonic()) > 0:
            if self.parts.attempts.wait_settled(min(left, 0.1)):
                break
        leave_by = self._leave_by(grace_ends)
        self._give_back(leave_by - FAREWELL_SECONDS)
        self.parts.outbox.hurry()
        delivered = self.parts.outbox.wait_empty(max(0.0, leave_by - FAREWELL_SECONDS - time.monotonic()))
        self._farewell(serving, leave_by)
        LOG.info("drained", undelivered=0 if delivered else len(self.parts.outbox))
        self.folder.close()
        self._live.remove()
        self.stopped.set()

    def _leave_by(self, grace_ends: float) -> float:
        """When the process has to begin its exit, now that running jobs get no more time."""
        seconds = self._settings.leave_seconds
        if self._hurry.is_set():
            seconds = min(seconds, HURRIED_LEAVE_SECONDS)
        return min(time.monotonic(), grace_ends) + seconds - EXIT_SECONDS

    def _farewell(self, serving: Serving | None, leave_by: float) -> None:
        """Results that were not delivered go to the disk, and the broker hears the last of the node.

        Side by side, by threads that are not waited for longer: neither a disk that hangs nor a broker that is away may
        hold up the end until somebody kills what is left.
        """
        last = [self.crash.spawn("spool-last", lambda: self.parts.outbox.tidy(older_than=0))]
        if serving is not None and not serving.session.over.is_set():
            last.append(self.crash.spawn("last-beat", lambda: self._last_beat(serving)))
        for thread in last:
            thread.join(max(0.0, leave_by - time.monotonic()))
        if serving is not None and not serving.session.over.is_set():
            serving.close(LEFT)

    def _give_back(self, deadline: float) -> None:
        """Kill what still runs and release it."""
        attempts = self.parts.attempts
        for attempt in attempts.open():
            self.parts.stopper.stop(attempt, Stop.RELEASE, "the node drains")
        attempts.wait_settled(max(0.0, (deadline - time.monotonic()) / 2))
        for attempt in attempts.open():
            self.parts.settlement.release(attempt, "the node drains")
        self.parts.releases.wait_empty(max(0.0, (deadline - time.monotonic()) / 2))

    def _last_beat(self, serving: Serving) -> None:
        """Lists nothing any more: whatever a claim given up may have brought goes back to the queue with it."""
        try:
            serving.heartbeat.beat(read_timeout=1.0)
        except BrokerError as error:
            LOG.warning("last_beat_failed", error=str(error))

    def _live_through_sessions(self) -> None:
        self._deliver_leftovers()
        while not self.stopped.is_set():
            if not self.parts.watch.wait_up(timeout=0.5):
                continue
            if self._leaving.is_set():
                self.stopped.wait(0.5)
                continue
            if not self.parts.strays.none_left.wait(0.5):
                continue  # the slots that a registration would offer are not free
            session = self.parts.registrar.register(lambda: self._offer, self._leaving)
            if session is not None:
                self._serve(session)

    def _serve(self, session: Session) -> None:
        parts = self.parts
        parts.attempts.open_session(session)
        parts.metrics.sessions.inc()
        serving = Serving(
            session,
            parts,
            clock=self._clock,
            retry_cap=self._settings.poll_interval,
            ready=self._ready,
            start=self._start_run,
            condition=self._condition,
        )
        self._serving = serving
        if self._leaving.is_set():
            return  # drain() looked for a session before this one was there
        if parts.registrar.offered != self._offer:
            session.end("sandrun came back with other capabilities")  # while the broker was being asked
        serving.start(self.crash)
        session.over.wait()
        if self.stopped.is_set() or session.reason == LEFT:
            return
        LOG.warning("session_over", reason=session.reason)
        for attempt in parts.attempts.open():
            parts.stopper.stop(attempt, Stop.LOST, session.reason)
        serving.close(session.reason)
        parts.registrar.ended(session)

    def _deliver_leftovers(self) -> None:
        """Results of an earlier process count in its session's name, which registering would end."""
        patience = time.monotonic() + LEFTOVER_SECONDS
        while not self._leaving.is_set() and not self.parts.outbox.wait_empty(0.1):
            if time.monotonic() > patience and not self.parts.delivery.broker_away:
                return

    @property
    def session(self) -> Session | None:
        """The present session; None before the first."""
        return self._serving.session if self._serving is not None else None

    def problem(self) -> str:
        """Why the node cannot run jobs now; empty when it can."""
        return self._health.problem()

    def _ready(self) -> bool:
        """Whether the node may claim."""
        serving = self._serving
        return (
            not self._leaving.is_set()
            and not self.parts.orders.draining
            and self.parts.watch.up
            and time.monotonic() >= self._busy_until
            and serving is not None
            and not serving.session.lease.over
            and not self.parts.outbox.full
        )

    def _condition(self) -> dict[str, Any]:
        """The fields of a beat that say how the node is."""
        return {
            "free_slots": self.parts.slots.free if self._ready() else 0,
            "draining": self._leaving.is_set(),
        }

    def _start_run(self, attempt: Attempt) -> None:
        if self._leaving.is_set():
            self.parts.settlement.release(attempt, "the node drains")
        else:
            self.parts.slots.add(attempt)
            self.parts.live.granted(attempt)

    def _wake(self) -> None:
        if self._serving is not None:
            self._serving.claimer.wake()

    def _session_over(self, who: dict[str, Any], reason: str) -> None:
        serving = self._serving
        if serving is not None and serving.session.who == who:
            serving.session.end(reason)

    def _sandrun_up(self, description: Description) -> None:
        offer = (
            capabilities.detect(self._settings, description),
            capabilities.slots(self._settings, description),
        )
        self.parts.stopper.can_cancel = description.can("cancel")
        self.parts.live.possible = description.can("logs-base64", "logs-wait")
        self.parts.slots.resize(offer[1])
        changed = bool(self._offer[1]) and offer != self._offer
        self._offer = offer
        if changed and self._serving is not None:
            # The broker learns capabilities at registration only. What sandrun's end left to report goes first.
            self.parts.outbox.wait_empty(SANDRUN_SECONDS)
            self._serving.session.end("sandrun came back with other capabilities")
        self._wake()

    def _sandrun_down(self, reason: str) -> None:
        """It crashed or hangs: nothing that runs in it will be heard of again."""
        if self._offer[1]:  # it was there before
            self.parts.metrics.sandrun_failures.inc()
        if self._serving is not None:
            self._serving.claimer.give_up()
            self._serving.heartbeat.poke()
        for attempt in self.parts.attempts.open():
            if attempt.handed.is_set():
                self.parts.settlement.result(attempt, platform_failure(attempt.key, f"sandrun failed: {reason}"))

    def _sandrun_busy(self) -> None:
        """It took no job for a while: claim none for longer and longer, so that the queue's jobs go elsewhere."""
        now = time.monotonic()
        if now > self._busy_until + 2 * BUSY_CAP:
            self._busy.reset()
        self._busy_until = now + self._busy.next()
