"""The end of the service: what becomes of the jobs that run, and of the next start."""

from __future__ import annotations

import subprocess
import time

import pytest

from hostile.client import Target
from support.hostile_node import HostileNode
from support.waiting import wait_until

#: Stubborn in every way that keeps a container from stopping.
STUBBORN = b"""
trap '' TERM INT HUP QUIT
for i in 1 2 3 4; do (trap '' TERM INT HUP QUIT; setsid sleep 600) & done
while :; do sleep 1; done
"""
#: compose.yaml's stop_grace_period is longer; sandrun has nothing to wait for.
STOP_SECONDS = 10


def start_stubborn(target: Target, count: int) -> list[str]:
    """So many jobs that never end, running."""
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 600}
    jobs = [target.accepted({"main.sh": STUBBORN}, manifest).json()["job_id"] for _ in range(count)]
    wait_until(
        lambda: all(target.get(f"/status/{job}").json()["status"] == "running" for job in jobs),
        seconds=120,
        what="the jobs run",
    )
    return jobs


def processes_of(node: HostileNode) -> list[str]:
    """What runs in the container, seen from outside."""
    shown = subprocess.run(
        ["docker", "top", node.id, "-eo", "pid,args"], capture_output=True, text=True, check=True, timeout=60
    )
    return shown.stdout.splitlines()[1:]


def check_fresh(target: Target, jobs: list[str]) -> None:
    """A service that started anew: it knows nothing of the earlier jobs, holds nothing of them, and works."""
    for job in jobs:
        assert target.get(f"/status/{job}").status_code == 404
    answer = target.accepted({"main.sh": b"echo fine"}, {"interpreter": "bash", "entrypoint": "main.sh"})
    assert target.outcome(answer.json()["job_id"], seconds=120).stdout == "fine\n"


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_stops_in_time_with_stubborn_jobs(signal: str) -> None:
    with HostileNode(slots=3) as node:
        target = Target(node.url)
        jobs = start_stubborn(target, 3)
        started = time.monotonic()
        node.signal(signal)
        code = node.wait_for_exit(seconds=60)
        took = time.monotonic() - started
        assert took < STOP_SECONDS, f"took {took:.1f} s to stop"
        assert code in (0, 130, 143), code
        node.start_again()
        check_fresh(target, jobs)
        target.close()


def test_killed_service_takes_its_jobs_with_it() -> None:
    with HostileNode(slots=3) as node:
        target = Target(node.url)
        with node.view() as view:
            files = view.look(files=True).files
        jobs = start_stubborn(target, 3)
        service = [line.split()[0] for line in processes_of(node) if "sandrun --host" in line and "init" not in line]
        assert len(service) == 1, processes_of(node)
        subprocess.run(["kill", "-KILL", service[0]], check=True, timeout=60)
        node.wait_for_exit(seconds=60)
        node.start_again()
        check_fresh(target, jobs)
        assert not [line for line in processes_of(node) if "sleep 600" in line]
        with node.view() as view:
            assert len(view.look(files=True).files) <= len(files) + 4  # the job of check_fresh
        target.close()


def test_service_stopped_in_mid_air_does_not_lose_count() -> None:
    """SIGSTOP and SIGCONT of the service (a suspended machine): limits that ran out meanwhile are enforced."""
    with HostileNode(slots=3) as node:
        target = Target(node.url)
        manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 1}
        job = target.accepted({"main.sh": b"sleep 600"}, manifest).json()["job_id"]
        quick = target.accepted({"main.sh": b"sleep 0.3; echo made it"}, manifest | {"timeout": 100}).json()["job_id"]
        service = [line.split()[0] for line in processes_of(node) if "sandrun --host" in line and "init" not in line]
        subprocess.run(["kill", "-STOP", service[0]], check=True, timeout=60)
        time.sleep(2)  # the pause under test
        subprocess.run(["kill", "-CONT", service[0]], check=True, timeout=60)
        assert target.outcome(job, seconds=120).verdict == "timeout"
        outcome = target.outcome(quick, seconds=120)
        assert (outcome.verdict, outcome.stdout) == ("completed", "made it\n")
        target.close()
