"""The first job of a fresh bundle: waits for the pool, runs one program on it and says what to try next.

Standard library only, since it runs on the user's machine before anything is installed there. SANDRUN_URL,
SANDRUN_KEY_FILE and SANDRUN_CA_FILE lead it to a broker behind TLS.
"""

import argparse
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

WAIT_SECONDS = 60.0
CODE = 'import platform\nprint("Hello distributed world! from Python", platform.python_version())'


def broker_url() -> str:
    """Where compose published this bundle's broker, whatever .env or the environment say. Raises OSError."""
    if "SANDRUN_URL" in os.environ:
        return os.environ["SANDRUN_URL"].rstrip("/")
    docker = shutil.which("docker")
    if docker is None:
        raise OSError("there is no docker command")
    command = [docker, "compose", "port", "broker", "8000"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if run.returncode != 0 or not run.stdout.strip():
        raise OSError(f"no broker runs in this bundle: {run.stderr.strip()}")
    return f"http://{run.stdout.strip()}"


def call(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to the broker; the answer's JSON. Raises OSError when the broker does not answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if "SANDRUN_KEY_FILE" in os.environ:
        headers["Authorization"] = f"Bearer {Path(os.environ['SANDRUN_KEY_FILE']).read_text(encoding='ascii').strip()}"
    request = urllib.request.Request(url + path, data, headers)  # noqa: S310
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=os.environ.get("SANDRUN_CA_FILE")))
    # Loopback is never reached through a proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
    with opener.open(request, timeout=40) as response:
        return json.load(response)


def wait_for_node(url: str) -> list[dict[str, Any]]:
    """The pool's active nodes, as soon as there is one; an empty list when none came within WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        nodes = [node for node in call(url, "/nodes")["nodes"] if node["active"]]
        if nodes:
            return nodes
        time.sleep(0.2)
    return []


def print_nodes(nodes: list[dict[str, Any]]) -> None:
    """One line for each node."""
    for node in nodes:
        capabilities = node["capabilities"]
        print(f"  {node['id']}  {', '.join(capabilities.get('interpreters', []))}")


def run_first_job(url: str) -> int:
    """Submit the program, print its output; 0 when it completed."""
    nodes = wait_for_node(url)
    if not nodes:
        print(
            f"error: no node registered within {WAIT_SECONDS:.0f} s; see: docker compose logs node",
            file=sys.stderr,
        )
        return 1
    print(f"{len(nodes)} node(s) ready:")
    print_nodes(nodes)
    started = time.monotonic()
    job_id = call(url, "/submit", {"code": CODE, "interpreter": "python3", "timeout": 60})["job_id"]
    result = call(url, f"/results/{job_id}?wait=30")
    elapsed_ms = (time.monotonic() - started) * 1000
    if result.get("status") != "completed":
        print(f"error: the first job did not complete: {json.dumps(result)}", file=sys.stderr)
        return 1
    print(f"\nfirst job {job_id}, {elapsed_ms:.0f} ms from submit to result, on node {result.get('node_id')}:")
    print(f"\n    {result['output'].strip()}\n")
    print_next_steps(url)
    return 0


def print_next_steps(url: str) -> None:
    """The URLs, and what to try next."""
    print(f"API        {url}            (reference: {url}/docs)")
    print(f"nodes      {url}/nodes")
    options = f"--cacert {os.environ['SANDRUN_CA_FILE']} " if "SANDRUN_CA_FILE" in os.environ else ""
    if "SANDRUN_KEY_FILE" in os.environ:
        options += f'-H "Authorization: Bearer $(cat {os.environ["SANDRUN_KEY_FILE"]})" '
    print(f"try        curl -s {options}-X POST {url}/submit?wait=10 -H 'Content-Type: application/json' \\")
    print("""                -d '{"code": "console.log(6*7)", "interpreter": "node"}'""")
    if files := os.environ.get("COMPOSE_FILE"):
        print(f"compose    export COMPOSE_FILE={files}    (for every docker compose command)")
    print("more nodes docker compose up -d --scale node=5")
    print("stop       make stop (keeps jobs), make down (removes containers, networks and jobs)")


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", action="store_true", help="only list the nodes")
    try:
        arguments = parser.parse_args()
        url = broker_url()
        if arguments.nodes:
            print_nodes(call(url, "/nodes")["nodes"])
            return 0
        return run_first_job(url)
    except urllib.error.HTTPError as error:
        print(
            f"error: {error.url} answered {error.code}: {error.read().decode(errors='replace')}",
            file=sys.stderr,
        )
    except OSError as error:
        print(f"error: the broker does not answer ({error}); see: docker compose logs broker", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
