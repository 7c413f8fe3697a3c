"""A sandrun that is not ours refuses, forgets and dies: no job is blamed, and none is lost."""

from pathlib import Path

import requests

from foreign.rig import LONG_ENOUGH, Rig
from support.waiting import wait_until


def test_429_for_a_while_is_waited_out_by_the_same_attempt(tmp_path: Path) -> None:
    with Rig(tmp_path, "--per-hour", "1", "--hour", "2.5") as rig:
        _another_client_was_quicker(rig)
        job = rig.submit(max_retries=0)
        assert rig.result(job)["output"] == "hello\n"
        assert rig.outcomes(job) == ["completed"]
        assert "429 POST /submit" in rig.standin.said


def test_429_for_longer_than_a_lease_costs_no_attempt_and_a_restart_forgets_it(tmp_path: Path) -> None:
    with Rig(tmp_path, "--per-hour", "1", NODE_TIMEOUT="5") as rig:
        _another_client_was_quicker(rig)
        job = rig.submit(max_retries=0)
        wait_until(lambda: "released" in rig.outcomes(job), seconds=LONG_ENOUGH, what=lambda: str(rig.job(job)))
        assert rig.job(job)["status"] == "pending"
        refused = rig.standin.said.count("429 POST /submit")
        assert refused > 2, "tried again with pauses"
        rig.standin.kill()
        rig.start_standin()
        assert rig.result(job)["output"] == "hello\n"
        assert rig.outcomes(job)[-1] == "completed"
        assert set(rig.outcomes(job)[:-1]) == {"released"}


def test_vanished_and_killed_are_its_failures_and_the_job_runs_again(tmp_path: Path) -> None:
    with Rig(tmp_path, "--lifetime", "0.6") as rig:
        job = rig.submit("import time\ntime.sleep(0.8)", max_retries=1)
        assert rig.result(job)["failure"] == "platform", "forgotten before it could be asked for, twice"
        assert rig.outcomes(job) == ["platform", "platform"]
        assert "does not know the job any more" in rig.job(job)["explanation"]

        rig.standin.kill()
        rig.start_standin("--lifetime", "60")
        marker = tmp_path / "second"
        code = "[ -e $1 ] || { touch $1; exec sleep 60; }"
        job = rig.submit(code, interpreter="bash", args=[str(marker)], max_retries=1)
        wait_until(marker.exists, seconds=LONG_ENOUGH, what=lambda: rig.standin.said)
        rig.standin.kill()
        rig.start_standin("--lifetime", "60")
        assert rig.result(job)["status"] == "completed"
        assert rig.outcomes(job) == ["platform", "completed"]


def _another_client_was_quicker(rig: Rig) -> None:
    """It uses up the quota after the agent has asked for it and claims: the next job meets 429."""
    wait_until(lambda: "200 GET /stats" in rig.standin.said, seconds=LONG_ENOUGH, what=lambda: rig.agent.said)
    parts = [("files", ("main.py", b"pass")), ("manifest", (None, "{}"))]
    answer = requests.post(f"{rig.standin_url}/submit", files=parts, timeout=60)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
