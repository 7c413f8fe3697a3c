"""Why a pending job waits, in words: one function for each reason, from what is known at one moment."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from broker.clock import iso
from broker.domain import sentences
from broker.domain.barring import barred_from
from broker.domain.placement import JobClass, lacking
from broker.domain.words import WaitReason
from broker.service.forecast import Forecast, Place
from broker.service.profiles import ProfileGroup
from broker.service.sessions import NodeSession, SessionBook
from broker.store.records.job import Job

__all__ = ["SAY", "Outlook", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The numbers behind a pending job's explanation. Times are seconds since 1970."""

    reason: WaitReason
    place: Place | None = None
    slots: int = 0
    slots_free: int = 0
    run_at: float | None = None
    rejected_at: float | None = None
    estimate: float | None = None


class Outlook:
    """What the nodes could do for classes at one moment; made once for a list of jobs."""

    def __init__(self, book: SessionBook, forecast: Forecast, now: float) -> None:
        self.now = now
        self.loads = forecast.loads()
        self._book = book
        self._idle: list[NodeSession] | None = None
        self._memo: dict[str, tuple[int, int]] = {}

    def slots(self, class_key: str) -> tuple[int, int]:
        """The slots of live nodes that can run a class, and how many of them are free."""
        known = self._memo.get(class_key)
        if known is None:
            able = [load for load in self.loads if load.group.can_run(class_key)]
            slots, free = sum(load.slots for load in able), sum(load.free for load in able)
            for session in filter(None, map(self._book.find, barred_from(class_key))):
                if session.group.can_run(class_key) and session.alive(self.now) and not session.claims_nothing:
                    slots -= session.slots or 1
                    free -= max(0, (session.slots or 1) - session.held)
            known = self._memo[class_key] = (max(0, slots), max(0, min(slots, free)))
        return known

    @property
    def groups(self) -> list[ProfileGroup]:
        """The kinds of live nodes that take jobs."""
        return [load.group for load in self.loads]

    @property
    def idle(self) -> list[NodeSession]:
        """Nodes that take no jobs now: silent, draining or leaving."""
        if self._idle is None:
            self._idle = [node for node in self._book if node.claims_nothing or not node.alive(self.now)]
        return self._idle


def _next(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    free = "the slot" if waiting.slots == 1 else f"{waiting.slots_free} of {waiting.slots} slots"
    said = f"About to be claimed: {free} that can run it {'is' if waiting.slots_free == 1 else 'are'} free"
    if waiting.place is not None and waiting.place.ahead:
        said += f", {sentences.count(waiting.place.ahead, 'job')} ahead"
    return said


def _busy(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    if waiting.slots_free:
        said = f"{waiting.slots_free} of {waiting.slots} slots that can run it are free"
    else:
        said = "The only slot that can run it is busy" if waiting.slots == 1 else f"All {waiting.slots} slots are busy"
    if waiting.place is not None:
        ahead = waiting.place.ahead
        more = "more than " if waiting.place.more else ""
        said += f", {more}{sentences.count(ahead, 'job')} {'is' if ahead == 1 else 'are'} ahead"
        if not ahead:
            said = said.removesuffix(", 0 jobs are ahead") + ", it is next"
    return said + (f", {sentences.about(waiting.estimate)}" if waiting.estimate is not None else "")


def _backoff(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    after = f", after {before}" if before else ""
    return f"Backing off until {iso(waiting.run_at)}{after}"


def _not_before(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    seconds = (waiting.run_at or outlook.now) - outlook.now
    return f"It is not to start before {iso(waiting.run_at)}, in {sentences.about(seconds)}"


def _no_nodes(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    if not outlook.idle:
        return "No node has registered"
    last = max(node.last_heartbeat for node in outlook.idle)
    known = "the one known node is" if len(outlook.idle) == 1 else f"all {len(outlook.idle)} known nodes are"
    return f"No node is live: {known} silent, the last was heard {sentences.about(outlook.now - last)} ago"


def _no_match(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    live = [node.group for node in outlook.idle if node.alive(outlook.now)]
    profiles = {id(group): group.profile for group in [*outlook.groups, *live]}.values()
    missed = lacking(JobClass.from_key(job.class_key), profiles)
    said = sentences.missing(*missed) if missed and missed[0] else "No live node could run it"
    return said + _silent(job, outlook)


def _silent(job: Job, outlook: Outlook) -> str:
    silent = [node for node in outlook.idle if node.may_have(job.class_key)]
    if not silent:
        return ""
    last = outlook.now - max(node.last_heartbeat for node in silent)
    return f"; {sentences.count(len(silent), 'node')} that could went silent, {sentences.about(last)} ago at last"


def _another_node(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    return "Every live node that could run it has given its result, and it takes another node" + _silent(job, outlook)


def _draining(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    able = [node for node in outlook.idle if node.may_have(job.class_key)]
    states = Counter("silent" if not node.alive(outlook.now) else "draining" for node in able)
    if len(able) == 1:
        return "The only node that could run it is draining"
    parts = " and ".join(f"{number} {'is' if number == 1 else 'are'} {state}" for state, number in states.items())
    return f"No node that could run it takes jobs: {parts}"


def _store(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    return "The broker's database refuses changes, so that nothing is handed out"


def _identical(job: Job, waiting: Waiting, outlook: Outlook, before: str) -> str:
    return "An identical job is under way: its success will be this one's too"


SAY: dict[WaitReason, Callable[[Job, Waiting, Outlook, str], str]] = {
    WaitReason.NEXT: _next,
    WaitReason.BUSY: _busy,
    WaitReason.BACKOFF: _backoff,
    WaitReason.NOT_BEFORE: _not_before,
    WaitReason.NO_NODES: _no_nodes,
    WaitReason.NO_MATCH: _no_match,
    WaitReason.DRAINING: _draining,
    WaitReason.ANOTHER_NODE: _another_node,
    WaitReason.STORE: _store,
    WaitReason.IDENTICAL: _identical,
}
"""Each gives a sentence without its end."""
