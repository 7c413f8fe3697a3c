"""How long jobs take, and since when nodes hold which: learnt from what is committed, for forecasts.

A job's time counts from the start of its program, or from its claim when its node did not announce a start (it ended at
once). Means follow the last jobs; of each class, and of each submitter in it, because one class may hold jobs of a
second and of an hour. Memory is bounded: what was not seen for long is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from broker.domain.barring import base_of
from broker.domain.placement import JobClass
from broker.domain.words import AttemptOutcome, JobStatus
from broker.store.changes import Step

__all__ = ["Held", "Pace", "Seconds"]

MAX_MEANS = 5_000
"""Classes, and submitters in classes, whose times are remembered."""
WINDOW = 30
"""Jobs that a mean follows."""
ENOUGH = 3
"""Jobs of one submitter after which its own mean counts."""
_TELLING = (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED, AttemptOutcome.OVERDUE)

Key = TypeVar("Key", bound=Hashable)


class Seconds(NamedTuple):
    """How long jobs take: the mean, and the square of the coefficient of variation."""

    mean: float
    spread: float


class Held(NamedTuple):
    """An attempt that a node holds. `since`: its program's start when it is `running`, else its claim."""

    class_key: str
    whose: str | None
    since: float
    running: bool


@dataclass(slots=True)
class _Mean:
    count: int = 0
    mean: float = 0.0
    square: float = 0.0

    def add(self, seconds: float) -> None:
        self.count = min(self.count + 1, WINDOW)
        self.mean += (seconds - self.mean) / self.count
        self.square += (seconds * seconds - self.square) / self.count

    def seconds(self) -> Seconds:
        variance = max(0.0, self.square - self.mean * self.mean)
        return Seconds(self.mean, variance / (self.mean * self.mean) if self.mean > 0 else 0.0)


class _Means(Generic[Key]):
    """Means by key, those that were not added to for the longest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Mean] = OrderedDict()

    def add(self, key: Key, seconds: float) -> None:
        mean = self._known.get(key)
        if mean is None:
            if len(self._known) >= MAX_MEANS:
                self._known.popitem(last=False)
            mean = self._known[key] = _Mean()
        else:
            self._known.move_to_end(key)
        mean.add(seconds)

    def get(self, key: Key, least: int = 1) -> Seconds | None:
        mean = self._known.get(key)
        return None if mean is None or mean.count < least else mean.seconds()


class Pace:
    """Lives on the event loop; fed with what commits changed. `slots_of` a node: None when it never said."""

    def __init__(self, slots_of: Callable[[str], int | None]) -> None:
        self._slots_of = slots_of
        self._classes: _Means[str] = _Means()
        self._flows: _Means[tuple[str, str | None]] = _Means()
        self._interpreters: _Means[str] = _Means()
        self._held: dict[str, dict[str, Held]] = {}

    def take(self, steps: Iterable[Step], now: float) -> None:
        """Learn from changes that were committed by `now`."""
        for step in steps:
            if step.node_id is None:
                continue
            if step.new is JobStatus.ASSIGNED or step.new is JobStatus.RUNNING:
                running = step.new is JobStatus.RUNNING
                held = Held(step.class_key, step.whose, now, running)
                self._held.setdefault(step.node_id, {})[step.job_id] = held
            else:
                self._ended(step, step.node_id, now)

    def held(self, node_id: str) -> list[Held]:
        """What a node holds, those first that it got first; attempts from before the broker's start are not known."""
        return list(self._held.get(node_id, {}).values())

    def seconds(self, class_key: str, whose: str | None = None) -> Seconds | None:
        """How long a job takes, by what is known of its submitter's, else of its class, else of its interpreter."""
        class_key = base_of(class_key)
        found = self._flows.get((class_key, whose), ENOUGH) or self._classes.get(class_key)
        return found or self._interpreters.get(JobClass.from_key(class_key).interpreter)

    def _ended(self, step: Step, node_id: str, now: float) -> None:
        on_node = self._held.get(node_id)
        held = on_node.pop(step.job_id, None) if on_node is not None else None
        if held is None or on_node is None:
            return
        if not on_node:
            del self._held[node_id]
        if step.outcome not in _TELLING:
            return
        seconds = max(0.0, now - held.since)
        slots = self._slots_of(node_id)
        if not held.running and slots is not None:
            seconds *= min(1.0, slots / (len(on_node) + 1))  # some of the time it waited there for a slot
        self._flows.add((held.class_key, held.whose), seconds)
        self._classes.add(held.class_key, seconds)
        self._interpreters.add(JobClass.from_key(held.class_key).interpreter, seconds)
