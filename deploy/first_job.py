"""The first job of a fresh bundle: waits for the pool, runs one program on it and says what to try next.

Standard library only, since it runs on the user's machine before anything is installed there.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

BROKER = f"http://127.0.0.1:{os.environ.get('BROKER_PUBLISHED_PORT', '8000')}"
WAIT_SECONDS = 60.0
CODE = 'import platform\nprint("Hello distributed world! from Python", platform.python_version())'


def call(path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to the broker; the answer's JSON. Raises OSError when the broker does not answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BROKER + path, data, {"Content-Type": "application/json"})  # noqa: S310
    # Loopback is never reached through a proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=40) as response:
        return json.load(response)


def wait_for_node() -> list[dict[str, Any]]:
    """The pool's active nodes, as soon as there is one; an empty list when none came within WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        nodes = [node for node in call("/nodes")["nodes"] if node["active"]]
        if nodes:
            return nodes
        time.sleep(0.2)
    return []


def print_nodes(nodes: list[dict[str, Any]]) -> None:
    """One line for each node."""
    for node in nodes:
        capabilities = node["capabilities"]
        print(f"  {node['id']}  {', '.join(capabilities.get('interpreters', []))}")


def run_first_job() -> int:
    """Submit the program, print its output; 0 when it completed."""
    nodes = wait_for_node()
    if not nodes:
        print(
            f"error: no node registered within {WAIT_SECONDS:.0f} s; see: docker compose logs node",
            file=sys.stderr,
        )
        return 1
    print(f"{len(nodes)} node(s) ready:")
    print_nodes(nodes)
    started = time.monotonic()
    job_id = call("/submit", {"code": CODE, "interpreter": "python3", "timeout": 60})["job_id"]
    result = call(f"/results/{job_id}?wait=30")
    elapsed_ms = (time.monotonic() - started) * 1000
    if result.get("status") != "completed":
        print(f"error: the first job did not complete: {json.dumps(result)}", file=sys.stderr)
        return 1
    print(f"\nfirst job {job_id}, {elapsed_ms:.0f} ms from submit to result, on node {result.get('node_id')}:")
    print(f"\n    {result['output'].strip()}\n")
    print_next_steps()
    return 0


def print_next_steps() -> None:
    """The URLs, and what to try next."""
    print(f"API        {BROKER}            (reference: {BROKER}/docs)")
    print(f"nodes      {BROKER}/nodes")
    print("try        curl -s -X POST " + BROKER + "/submit?wait=10 -H 'Content-Type: application/json' \\")
    print("""                -d '{"code": "console.log(6*7)", "interpreter": "node"}'""")
    print("more nodes docker compose up -d --scale node=5")
    print("stop       make stop (keeps jobs), make down (removes everything)")


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", action="store_true", help="only list the nodes")
    try:
        if parser.parse_args().nodes:
            print_nodes(call("/nodes")["nodes"])
            return 0
        return run_first_job()
    except urllib.error.HTTPError as error:
        print(
            f"error: {error.url} answered {error.code}: {error.read().decode(errors='replace')}",
            file=sys.stderr,
        )
    except OSError as error:
        print(f"error: no broker at {BROKER} ({error}); see: docker compose logs broker", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
