"""sandrun dies under the agent, in real node containers: noticed in seconds, no job blamed, the container ended.

Each test prints how long it took; docs/node.md states what came out.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.test_isolation import pid_of
from support.bundle import Bundle, ServiceContainer, wrapped
from support.waiting import wait_until

CODE = "import time; time.sleep({seconds})"
HOG = "parts = []\nwhile True: parts.append(b'x' * (32 << 20))"


@pytest.fixture(scope="module")
def pool() -> Iterator[Bundle]:
    with Bundle(nodes=2, node={"NODE_SLOTS": "1", "LOG_LEVEL": "debug"}) as bundle:
        yield bundle


@pytest.fixture
def pair(pool: Bundle) -> Bundle:
    """Two nodes of one slot: whatever happens to one, the other can take over. Those that a test ended are replaced."""
    for container in nodes_of(pool):
        wrapped(container).reload()
        if wrapped(container).status != "running":
            pool.containers.remove(container)
            container.stop()
            pool.start_node()
    pool.wait_for_nodes(2)
    return pool


def nodes_of(bundle: Bundle) -> list[ServiceContainer]:
    return [container for container in bundle.containers if container is not bundle.broker]


def attempts(bundle: Bundle, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bundle.get(f"/jobs/{job_id}").json()["attempts"]
    return found


def victim_of(bundle: Bundle, job_id: str) -> ServiceContainer:
    """The node container that runs the job."""
    status = wait_until(
        lambda: (found := bundle.get(f"/status/{job_id}").json())["status"] == "running" and found,
        seconds=120,
        what="the job runs",
    )
    names = {node["id"]: node["name"] for node in bundle.get("/nodes").json()["nodes"]}
    (victim,) = [node for node in nodes_of(bundle) if node.get_container_id().startswith(names[status["node_id"]])]
    return victim


def sandrun_of(node: ServiceContainer) -> int:
    return int(wait_until(lambda: pid_of(node, "sandrun"), seconds=120, what="sandrun runs"))


def out_of_memory(bundle: Bundle, node: ServiceContainer, sandrun: int) -> None:
    """The kernel's own choice is led to sandrun; then something in the container takes all memory."""
    Path(f"/proc/{sandrun}/oom_score_adj").write_text("1000")
    wrapped(node).exec_run(["python", "-c", HOG], detach=True)


def killed(bundle: Bundle, node: ServiceContainer, sandrun: int) -> None:
    os.kill(sandrun, signal.SIGKILL)


def hung(bundle: Bundle, node: ServiceContainer, sandrun: int) -> None:
    os.kill(sandrun, signal.SIGSTOP)


@pytest.mark.parametrize(
    ("how", "noticed_within", "ended_within"),
    [
        pytest.param(killed, 30, 120, id="crash"),
        pytest.param(out_of_memory, 90, 120, id="out of memory"),
        pytest.param(hung, 30, 120, id="hang"),
    ],
)
def test_dead_sandrun_is_noticed_and_nobodys_fault(
    pair: Bundle, how: Callable[[Bundle, ServiceContainer, int], None], noticed_within: float, ended_within: float
) -> None:
    job = pair.submit(CODE.format(seconds=280))
    victim = victim_of(pair, job)
    how(pair, victim, sandrun_of(victim))
    began = time.monotonic()
    wait_until(lambda: attempts(pair, job)[0]["outcome"], seconds=noticed_within, what="the attempt is handed back")
    noticed = time.monotonic() - began
    wait_until(lambda: len(attempts(pair, job)) == 2, seconds=noticed_within, what="another node has it")
    wait_until(lambda: attempts(pair, job)[1]["started_at"], seconds=90, what="it runs there")
    elsewhere = time.monotonic() - began
    ended = wrapped(victim).wait(timeout=ended_within)["StatusCode"]
    took = time.monotonic() - began
    print(f"\nhanded back {noticed:.1f} s, runs elsewhere {elsewhere:.1f} s, container ended {took:.1f} s")
    first, second = attempts(pair, job)[:2]
    assert first["outcome"] == "platform"
    assert second["node_id"] != first["node_id"]
    assert ended not in (0, 137)
    pair.http.delete(f"{pair.url}/jobs/{job}", timeout=60)
    assert pair.result(job)["failure"] == "cancelled"


def test_hang_over_a_submit_is_noticed_too(pair: Bundle) -> None:
    """Both sandruns stand still before the job comes: its claim is answered, its submit is not."""
    pids = [sandrun_of(node) for node in nodes_of(pair)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    job = pair.submit("print('done')")
    began = time.monotonic()
    wait_until(lambda: len(attempts(pair, job)) >= 1, seconds=60, what="a node has it")
    wait_until(lambda: attempts(pair, job)[0]["outcome"], seconds=28, what="the attempt is handed back")
    print(f"\nhanded back after {time.monotonic() - began:.1f} s")
    assert attempts(pair, job)[0]["outcome"] == "platform"
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert pair.result(job)["output"] == "done\n"


def test_restart_policy_brings_the_node_back(pair: Bundle) -> None:
    """As compose.yaml has it: the same node, with a new session, takes jobs again."""
    job = pair.submit(CODE.format(seconds=6))
    victim = victim_of(pair, job)
    wrapped(victim).update(restart_policy={"Name": "unless-stopped"})
    before = {node["id"] for node in pair.wait_for_nodes(2)}
    os.kill(sandrun_of(victim), signal.SIGKILL)
    assert pair.result(job)["status"] == "completed"
    began = time.monotonic()
    pair.wait_for_nodes(2)
    wait_until(lambda: wrapped_restarts(victim) >= 1, seconds=120, what="the container was started again")
    wait_until(
        lambda: sum(node["active"] and node["session_number"] > 1 for node in pair.get("/nodes").json()["nodes"]),
        seconds=120,
        what="the node is back",
    )
    print(f"\nback {time.monotonic() - began:.1f} s after the job's end")
    assert {node["id"] for node in pair.wait_for_nodes(2)} == before


def wrapped_restarts(node: ServiceContainer) -> int:
    container = wrapped(node)
    container.reload()
    return int(container.attrs["RestartCount"])
