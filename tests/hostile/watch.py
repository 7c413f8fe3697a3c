"""What goes on beside the attacks: a neighbour's honest jobs without a gap, and /health ten times a second."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass

import requests

from hostile.client import ServiceError, Target
from hostile.model import COMPLETED

#: The bar: /health answers within this, whatever the jobs do, on a machine that has nothing else to do.
HEALTH_SECONDS = 1.0
#: The bar in `make test`, where two other suites take their share of the processors: only a service that hangs fails.
SHARED_HEALTH_SECONDS = 10.0
HEALTH_INTERVAL = 0.1
#: What a neighbour's job may take, waiting for its slot and its share of the CPU beside several bombs included.
NEIGHBOUR_SECONDS = 120

#: About a second of honest work: it keeps files in every place that others might reach, and its own secret to compare.
NEIGHBOUR = """
import hashlib, os, subprocess, sys, time
secret = sys.argv[1]
places = ["secret.txt", "/tmp/secret.txt", "/dev/shm/secret.txt"]
for place in places:
    with open(place, "w") as file: file.write(secret)
child = subprocess.Popen(["sleep", "0.8"])
for step in range(16):
    time.sleep(0.05)
    for place in places:
        assert open(place).read() == secret, place
    others = [p for p in os.listdir("/proc") if p.isdigit()]
    assert len(others) < 8, others
assert child.wait() == 0
assert sorted(os.listdir("/tmp")) == ["secret.txt"], os.listdir("/tmp")
open("kept.txt", "w").write(secret)
print("unharmed", hashlib.sha256(secret.encode()).hexdigest())
"""


@dataclass(frozen=True)
class Seen:
    """One observation: when it began and ended, and what was wrong, if anything."""

    started: float
    ended: float
    problem: str | None


class Watch:
    """A thread that observes again and again until it is stopped; `problems` tells what it saw in a stretch of time."""

    interval = 0.0

    def __init__(self, target: Target, name: str) -> None:
        self.target = target.again()
        self.seen: list[Seen] = []
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin to observe; returns after the first observation, so that nothing happens unobserved."""
        self._thread.start()
        self._wait_for(lambda: bool(self.seen), seconds=NEIGHBOUR_SECONDS)

    def stop(self) -> None:
        """End after the observation that is under way."""
        self._stop.set()
        self._thread.join(NEIGHBOUR_SECONDS + 30)
        self.target.close()

    def problems(self, started: float, ended: float) -> list[str]:
        """What was wrong between the two moments; waits for the observation that was under way at the second."""
        self._wait_for(lambda: self.seen[-1].ended >= ended or self._stop.is_set(), seconds=NEIGHBOUR_SECONDS + 30)
        with self._news:
            during = [seen for seen in self.seen if seen.ended >= started and seen.started <= ended]
        return [seen.problem for seen in during if seen.problem]

    def observe(self) -> str | None:
        """One observation: None, or what is wrong."""
        raise NotImplementedError

    def _loop(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            problem = self.observe()
            with self._news:
                self.seen.append(Seen(started, time.monotonic(), problem))
                self._news.notify_all()
            self._stop.wait(self.interval)

    def _wait_for(self, condition: object, *, seconds: float) -> None:
        assert callable(condition)
        with self._news:
            if not self._news.wait_for(condition, seconds):
                raise ServiceError(f"{self._thread.name}: no observation within {seconds} s")


class HealthWatch(Watch):
    """GET /health; the slowest answer is kept for the report."""

    interval = HEALTH_INTERVAL

    def __init__(self, target: Target, bar: float = HEALTH_SECONDS) -> None:
        super().__init__(target, "health")
        self.bar = bar

    def observe(self) -> str | None:
        """One look at /health."""
        started = time.monotonic()
        try:
            answer = self.target.http.get(self.target.url + "/health", timeout=2 * self.bar)
        except requests.RequestException as error:
            return f"/health did not answer: {type(error).__name__}"
        took = time.monotonic() - started
        if answer.status_code != 200 or answer.json().get("status") != "healthy":
            return f"/health answered {answer.status_code}: {answer.text[:100]}"
        return f"/health took {took:.2f} s" if took > self.bar else None

    def slowest(self, started: float = 0.0, ended: float = float("inf")) -> float:
        """Seconds of the slowest answer between the two moments of the monotonic clock."""
        during = (seen for seen in list(self.seen) if seen.ended >= started and seen.started <= ended)
        return max((seen.ended - seen.started for seen in during), default=0.0)


class NeighbourWatch(Watch):
    """Another client's jobs, one after the other."""

    def __init__(self, target: Target, number: int = 1) -> None:
        super().__init__(target, f"neighbour {number}")

    def observe(self) -> str | None:
        """One honest job from submission to result."""
        secret = f"NEIGHBOUR-{secrets.token_hex(8)}"
        manifest = {
            "entrypoint": "main.py",
            "interpreter": "python3",
            "args": [secret],
            "env": {"SECRET": secret},
            "timeout": NEIGHBOUR_SECONDS,
            "memory_mb": 128,
        }
        try:
            answer = self.target.accepted({"main.py": NEIGHBOUR.encode()}, manifest)
            if answer.status_code != 200:
                return f"neighbour refused with {answer.status_code}: {answer.text[:200]}"
            job_id = answer.json()["job_id"]
            outcome = self.target.outcome(job_id, seconds=2 * NEIGHBOUR_SECONDS)
            files = self.target.download(job_id)[0] if self.target.takes_uploads else {"kept.txt": secret.encode()}
        except ServiceError as error:
            return f"neighbour: {error}"
        if outcome.verdict != COMPLETED or not outcome.stdout.startswith("unharmed "):
            said = f"{outcome.stdout[-100:]!r}, {outcome.stderr[-300:]!r}, {outcome.message}"
            return f"neighbour harmed: {outcome.verdict}, {said}"
        if files.get("kept.txt") != secret.encode():
            return f"neighbour's files lost: {sorted(files)}"
        return None
