"""How long jobs take, and since when nodes hold which: learnt from what is committed, for forecasts.

A job's time counts from the start of its program, or from its claim when its node did not announce a start (it ended at
once). Means follow the last jobs; of each class, and of each submitter in it, because one class may hold jobs of a
second and of an hour. Memory is bounded: what was not seen for long is forgotten first.

The first jobs to end are the shortest of those that began: by them alone a pool that has just begun would seem ten
times faster than it is. So what still runs counts too, for as long as it has run (censored observations: with jobs that
have no memory this is the maximum likelihood), and fades as more have ended than are running.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
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
ENOUGH = 5
"""Jobs that must have ended before a mean counts. Fewer tell nothing within a factor of 2
(tests/unit/broker/test_forecast.py)."""
DOUBT = 1.0
"""So many jobs of a spread of 1, as if seen before any: a few that ended alike do not prove that all are alike."""
EARLY_SPREAD = 3.0
"""Of many jobs without memory the first few to end took anything from nothing to the present age, evenly: that is a
third of the spread that they all have."""
_TELLING = (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED, AttemptOutcome.OVERDUE)

Key = TypeVar("Key", bound=Hashable)


class Seconds(NamedTuple):
    """How long jobs take: the mean, and the square of the coefficient of variation."""

    mean: float
    spread: float


NOTHING = Seconds(0.0, 0.0)


class Held(NamedTuple):
    """An attempt that a node holds. `since`: its program's start when it is `running`, else its claim."""

    class_key: str
    whose: str | None
    since: float
    running: bool
    means: "tuple[_Mean, ...]"
    """Those that will learn from it."""


@dataclass(slots=True)
class _Mean:
    count: int = 0
    """Of the jobs that the mean follows."""
    total: int = 0
    """Of all that have ended."""
    mean: float = 0.0
    square: float = 0.0
    running: int = 0
    began: float = 0.0
    """The sum of the moments at which those began that run."""

    def begin(self, since: float) -> None:
        self.running += 1
        self.began += since

    def end(self, since: float) -> None:
        self.running -= 1
        self.began = self.began - since if self.running else 0.0

    def add(self, seconds: float) -> None:
        self.total += 1
        self.count = min(self.count + 1, WINDOW)
        self.mean += (seconds - self.mean) / self.count
        self.square += (seconds * seconds - self.square) / self.count

    def seconds(self, now: float, prior: Seconds = NOTHING, weight: int = 0) -> Seconds:
        """With `weight` jobs of a prior as if they had ended before; of these or of its own there must be some."""
        known = self.count + weight
        mean = (self.count * self.mean + weight * prior.mean) / known
        running = self.running * (known / (self.total + weight)) ** 2
        spread = (self.count * self._spread() + weight * prior.spread) / known
        hidden = (known + EARLY_SPREAD * running) / (known + running)
        spread = (spread * hidden * known + DOUBT) / (known + DOUBT)
        return Seconds(self._with_those_that_run(mean, known, running, now, min(1.0, spread)), spread)

    def _spread(self) -> float:
        variance = max(0.0, self.square - self.mean * self.mean)
        return variance / (self.mean * self.mean) if self.mean > 0 else 0.0

    def _with_those_that_run(self, mean: float, known: int, running: float, now: float, spread: float) -> float:
        """The mean m of the ended and of what is expected of the running: those that are alike take m, or longer if
        they have run for longer already; those without memory take m from now on. Between these by the spread."""
        if not self.running:
            return mean
        age = max(0.0, now - self.began / self.running)
        blurred = mean + running * spread * age / known
        if blurred >= age:
            return blurred
        return (known * mean + running * age) / (known + running * (1 - spread))


class _Means(Generic[Key]):
    """Means by key, those that were not added to for the longest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Mean] = OrderedDict()

    def of(self, key: Key) -> _Mean:
        """The mean of a key, that is told of what begins, ends and how long it took."""
        mean = self._known.get(key)
        if mean is None:
            if len(self._known) >= MAX_MEANS:
                self._known.popitem(last=False)
            mean = self._known[key] = _Mean()
        else:
            self._known.move_to_end(key)
        return mean

    def get(self, key: Key) -> _Mean | None:
        return self._known.get(key)


def _narrowest(means: Sequence[_Mean | None], now: float) -> Seconds | None:
    """What is known of the first of these, the narrowest; those of which too little is known lean on the next."""
    leaning: list[_Mean] = []
    for mean in means:
        if mean is not None and mean.count >= ENOUGH:
            known = mean.seconds(now)
            for one in reversed(leaning):
                known = one.seconds(now, known, ENOUGH)
            return known
        if mean is not None:
            leaning.append(mean)
    return None


class Pace:
    """Lives on the event loop; fed with what commits changed. `slots_of` a node: None when it never said."""

    def __init__(self, slots_of: Callable[[str], int | None]) -> None:
        self._slots_of = slots_of
        self._classes: _Means[str] = _Means()
        self._flows: _Means[tuple[str, str | None]] = _Means()
        self._interpreters: _Means[str] = _Means()
        self._all = _Mean()
        self._held: dict[str, dict[str, Held]] = {}

    def take(self, steps: Iterable[Step], now: float) -> None:
        """Learn from changes that were committed by `now`."""
        for step in steps:
            if step.node_id is None:
                continue
            if step.new is JobStatus.ASSIGNED or step.new is JobStatus.RUNNING:
                self._holds(step, step.node_id, now)
            else:
                self._ended(step, step.node_id, now)

    def held(self, node_id: str) -> list[Held]:
        """What a node holds, those first that it got first; attempts from before the broker's start are not known."""
        return list(self._held.get(node_id, {}).values())

    def seconds(self, class_key: str, now: float) -> Seconds | None:
        """How long a job of a class takes; None when that is not known well enough to be told."""
        return _narrowest(self._of_kind(class_key), now)

    def seconds_of(self, class_key: str, whose: str | None, now: float) -> Seconds | None:
        """The same for the jobs of one submitter."""
        return _narrowest([self._flows.get((base_of(class_key), whose)), *self._of_kind(class_key)], now)

    def _of_kind(self, class_key: str) -> tuple[_Mean | None, ...]:
        interpreter = JobClass.from_key(base_of(class_key)).interpreter
        return self._classes.get(base_of(class_key)), self._interpreters.get(interpreter), self._all

    def _holds(self, step: Step, node_id: str, now: float) -> None:
        on_node = self._held.setdefault(node_id, {})
        known = on_node.get(step.job_id)
        means = known.means if known is not None else self._means(step.class_key, step.whose)
        running = step.new is JobStatus.RUNNING
        if running:
            for mean in means:
                mean.begin(now)
        on_node[step.job_id] = Held(step.class_key, step.whose, now, running, means)

    def _means(self, class_key: str, whose: str | None) -> tuple[_Mean, ...]:
        interpreter = JobClass.from_key(class_key).interpreter
        by_kind = self._classes.of(class_key), self._interpreters.of(interpreter)
        return self._flows.of((class_key, whose)), *by_kind, self._all

    def _ended(self, step: Step, node_id: str, now: float) -> None:
        on_node = self._held.get(node_id)
        held = on_node.pop(step.job_id, None) if on_node is not None else None
        if held is None or on_node is None:
            return
        if not on_node:
            del self._held[node_id]
        if held.running:
            for mean in held.means:
                mean.end(held.since)
        if step.outcome not in _TELLING:
            return
        seconds = max(0.0, now - held.since)
        slots = self._slots_of(node_id)
        if not held.running and slots is not None:
            seconds *= min(1.0, slots / (len(on_node) + 1))  # some of the time it waited there for a slot
        for mean in held.means:
            mean.add(seconds)
