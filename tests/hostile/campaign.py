"""Runs attacks against a target, several at a time, and judges each: verdict, neighbour, /health, what it left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from hostile.client import ServiceError, Target
from hostile.model import Attack, Outcome
from hostile.node_view import NodeView
from hostile.watch import HEALTH_SECONDS, HealthWatch, NeighbourWatch

#: Seconds by which a kill may come after the wall clock ran out, on a machine that other attackers and suites keep
#: busy. One that does not come is found by PATIENCE.
LATE_SECONDS = 8.0


@dataclass(frozen=True)
class Report:
    """One attack and everything that was wrong with how it ended."""

    attack: Attack
    outcome: Outcome | None
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Nothing was wrong."""
        return not self.problems

    def text(self) -> str:
        """For a failing test: what was wrong, and what the service said."""
        lines = [f"{self.attack.id}: {self.attack.case.why}", *(f"- {problem}" for problem in self.problems)]
        if self.outcome is not None:
            shown = {name: value for name, value in self.outcome.__dict__.items() if name != "files"}
            lines.append(", ".join(f"{name}={value!r:.400}" for name, value in shown.items()))
        return "\n".join(lines)


def judge(attack: Attack, outcome: Outcome) -> list[str]:
    """What the outcome itself says against the service."""
    case = attack.case
    problems = []
    if outcome.verdict not in case.verdicts:
        problems.append(f"verdict {outcome.verdict}, expected {' or '.join(case.verdicts)}")
    printed = outcome.stdout + outcome.stderr
    problems += [f"printed {word!r}: {_around(printed, word)}" for word in case.never if word in printed]
    if outcome.verdict != "refused":
        problems += [
            f"did not print {word!r}: {outcome.stdout[-200:]!r}" for word in case.prints if word not in outcome.stdout
        ]
        problems += [problem for check in case.checks if (problem := check(outcome))]
    if outcome.wall_seconds is not None and outcome.wall_seconds > case.wall_seconds + LATE_SECONDS:
        problems.append(f"ran for {outcome.wall_seconds:.2f} s of {case.wall_seconds} s")
    return problems


class Campaign:
    """A target, its watches, and a pool of attackers.

    One slot is the neighbour's; the attackers take the others (`attackers` at once). With a `NodeView` each attack is
    also checked for processes that it left behind. An answer of /health over `health_seconds` is a problem.
    """

    def __init__(
        self,
        url: str,
        *,
        attackers: int | None = None,
        node: NodeView | None = None,
        health_seconds: float = HEALTH_SECONDS,
    ) -> None:
        self.target = Target(url)
        self.node = node
        self.attackers = attackers or max(1, self.target.slots - 1)
        self.health = HealthWatch(self.target, health_seconds)
        self.neighbour = NeighbourWatch(self.target)
        self._pool = ThreadPoolExecutor(self.attackers, thread_name_prefix="attacker")
        self._judges = ThreadPoolExecutor(4 * self.attackers, thread_name_prefix="judge")
        self._local = threading.local()
        self._targets: list[Target] = []

    def __enter__(self) -> Campaign:
        self.health.start()
        self.neighbour.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for target in (*self._targets, self.target):
            target.close()

    def end(self) -> None:
        """Wait for what runs, drop what is queued, and send the neighbour home."""
        self._pool.shutdown(cancel_futures=True)
        self._judges.shutdown(cancel_futures=True)
        self.neighbour.stop()
        self.health.stop()

    def launch(
        self, attacks: Iterable[Attack], done: Callable[[Report], None] | None = None
    ) -> dict[str, Future[Report]]:
        """Queue the attacks; the futures by attack id. `done` is told of each report as it comes."""
        futures: dict[str, Future[Report]] = {}
        for attack in attacks:
            report: Future[Report] = Future()
            if done is not None:
                report.add_done_callback(lambda future: done(future.result()))
            futures[attack.id] = report
            self._pool.submit(self._run, attack, report)
        return futures

    def run(self, attack: Attack) -> Report:
        """One attack, now."""
        return self.launch([attack])[attack.id].result()

    def _run(self, attack: Attack, report: Future[Report]) -> None:
        """In an attacker's thread: until the verdict. Judging waits for the neighbour and goes on elsewhere."""
        marker = f"{attack.id}#{os.urandom(4).hex()}"
        started = time.monotonic()
        outcome: Outcome | None = None
        problems: list[str] = []
        try:
            outcome = self._own_target().run(attack, marker)
            problems = judge(attack, outcome)
            if outcome.job_id and not attack.case.collect:
                self._own_target().forget(outcome.job_id)
        except Exception as error:  # the report must come, whatever happened
            problems.append(f"{type(error).__name__}: {error}")
        try:
            self._judges.submit(self._finish, attack, report, marker, outcome, problems, started, time.monotonic())
        except RuntimeError as error:  # the campaign was closed meanwhile
            report.set_result(Report(attack, outcome, (*problems, str(error))))

    def _finish(
        self,
        attack: Attack,
        report: Future[Report],
        marker: str,
        outcome: Outcome | None,
        problems: list[str],
        started: float,
        ended: float,
    ) -> None:
        try:
            if self.node is not None:
                problems += self.node.left_behind(marker)
            problems += [*self.neighbour.problems(started, ended), *self.health.problems(started, ended)]
        except (ServiceError, OSError) as error:
            problems.append(str(error))
        report.set_result(Report(attack, outcome, tuple(problems)))

    def _own_target(self) -> Target:
        if not hasattr(self._local, "target"):
            self._local.target = self.target.again()
            self._targets.append(self._local.target)
        target: Target = self._local.target
        return target


def _around(text: str, word: str) -> str:
    at = text.find(word)
    return repr(text[max(0, at - 60) : at + 100])
