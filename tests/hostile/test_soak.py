"""Many ordinary jobs: in a row and at once. Nothing may pile up and nothing may become slower."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from hostile.client import Target
from hostile.node_view import NodeView, Snapshot
from support.hostile_node import HostileNode

IN_A_ROW = 1000
AT_ONCE = 50
#: Jobs until caches are warm, and jobs at each end that are compared.
WARM_UP, SAMPLE = 100, 200
#: The bar: the processor time of the last jobs against that of the first. How long they take besides is the matter of
#: whatever else the machine does.
DRIFT_FACTOR = 1.5

LANGUAGES = {
    "bash": ("main.sh", b"echo done"),
    "python3": ("main.py", b"print('done')"),
    "node": ("main.js", b"console.log('done')"),
    "ruby": ("main.rb", b"puts 'done'"),
}


def run_one(target: Target, interpreter: str = "bash") -> None:
    """One job from its submission to its result."""
    entrypoint, program = LANGUAGES[interpreter]
    answer = target.accepted(
        {entrypoint: program}, {"interpreter": interpreter, "entrypoint": entrypoint, "timeout": 150, "memory_mb": 64}
    )
    assert answer.status_code == 200, answer.text
    outcome = target.outcome(answer.json()["job_id"], seconds=300)
    assert (outcome.verdict, outcome.stdout, outcome.exit_code) == ("completed", "done\n", 0), outcome


def test_a_thousand_jobs_in_a_row(node: HostileNode) -> None:
    target = Target(node.url)
    with node.view() as view:
        for _ in range(WARM_UP):
            run_one(target)
        base = settled(view)
        first = sampled(target, view)
        for _ in range(IN_A_ROW - 2 * SAMPLE):
            run_one(target)
        last = sampled(target, view)
        assert view.base_problems(base) == []
    target.close()
    assert last <= DRIFT_FACTOR * first, f"{first * 1000:.1f} ms of processor time each became {last * 1000:.1f} ms"


def sampled(target: Target, view: NodeView) -> float:
    """Processor seconds of the whole container for each of the next SAMPLE jobs."""
    before = view.look().cpu_seconds
    for _ in range(SAMPLE):
        run_one(target)
    return (view.look().cpu_seconds - before) / SAMPLE


def test_fifty_jobs_at_once(node: HostileNode) -> None:
    targets = [Target(node.url) for _ in range(AT_ONCE)]
    languages = [list(LANGUAGES)[number % len(LANGUAGES)] for number in range(AT_ONCE)]
    with node.view() as view, ThreadPoolExecutor(AT_ONCE) as pool:
        base = settled(view)
        for _ in range(3):
            list(pool.map(run_one, targets, languages))
        for target in targets:
            target.close()
        assert view.base_problems(base) == []


def settled(view: NodeView) -> Snapshot:
    """The node when the data of earlier jobs is gone."""
    before = view.look(files=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        time.sleep(0.5)  # the poll interval
        now = view.look(files=True)
        if now.files == before.files and len(now.processes) == len(before.processes):
            return now
        before = now
    raise AssertionError("the node does not come to rest")
