"""What a node container may do, and what a job inside it can see: not the container, the broker or other jobs."""

import json
import subprocess

import pytest

from support.bundle import Bundle, ServiceContainer, wrapped
from support.waiting import wait_until


def nodes_of(bundle: Bundle) -> list[ServiceContainer]:
    return [container for container in bundle.containers if "node" in container.image]


def test_node_container_has_no_privilege(bundle: Bundle) -> None:
    for node in nodes_of(bundle):
        wrapped(node).reload()
        config, host = wrapped(node).attrs["Config"], wrapped(node).attrs["HostConfig"]
        assert host["Privileged"] is False
        assert not host["CapAdd"]
        assert host["CapDrop"] == ["ALL"]
        assert config["User"] == "1000:1000"
        assert host["ReadonlyRootfs"] is True
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
        assert host["Init"] is True
        assert host["Binds"] in (None, [])
        assert host["PidsLimit"] > 0
        assert host["Memory"] > 0
        assert host["Memory"] == host["MemorySwap"]
        assert not host["PortBindings"]


def test_broker_container_has_no_privilege(bundle: Bundle) -> None:
    wrapped(bundle.broker).reload()
    config, host = wrapped(bundle.broker).attrs["Config"], wrapped(bundle.broker).attrs["HostConfig"]
    assert (host["Privileged"], host["CapDrop"], config["User"], host["ReadonlyRootfs"]) == (
        False,
        ["ALL"],
        "1000:1000",
        True,
    )


def test_job_identity_is_neutral(bundle: Bundle) -> None:
    result = bundle.run("id; hostname; pwd; cat /proc/self/status | grep -E '^(Cap|NoNewPrivs|Seccomp:)'", "bash")
    lines = result["output"].splitlines()
    assert "(node)" not in lines[0]
    hostnames = {wrapped(node).attrs["Config"]["Hostname"] for node in nodes_of(bundle)}
    assert lines[1] not in hostnames
    capabilities = {line.split()[1] for line in lines if line.startswith("Cap")}
    assert capabilities == {"0000000000000000"}
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines


def test_job_sees_no_file_of_the_container(bundle: Bundle) -> None:
    root = bundle.run("ls -A /", "bash")["output"].split()
    assert set(root) == {"bin", "dev", "etc", "job", "lib", "lib64", "proc", "tmp", "usr"}
    for path in (
        "/opt/venv",
        "/opt/node/node.py",
        "/var/lib/node",
        "/etc/shadow",
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/sys/fs/cgroup",
    ):
        result = bundle.run(f"import os; print(os.path.exists({path!r}))")
        assert result["output"] == "False\n", path


def test_job_sees_only_its_own_processes(bundle: Bundle) -> None:
    neighbour = bundle.submit("import time; time.sleep(3)")
    program = (
        "import os, json\n"
        "found = {}\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    found[pid] = open(f'/proc/{pid}/cmdline', 'rb').read().decode()\n"
        "print(json.dumps(found))"
    )
    seen = json.loads(bundle.run(program)["output"])
    assert len(seen) <= 3, seen
    joined = " ".join(seen.values())
    for word in ("uvicorn", "agent", "supervisor", "broker", "venv", "time.sleep"):
        assert word not in joined
    bundle.result(neighbour)


def test_job_environment_holds_nothing_of_the_node(bundle: Bundle) -> None:
    environment = bundle.run("import os, json; print(json.dumps(dict(os.environ)))")["output"]
    names = set(json.loads(environment))
    assert not {name for name in names if name.startswith(("BROKER", "NODE", "SANDRUN", "PYTHONPATH"))}, names
    outer = bundle.run("print(open('/proc/1/environ', 'rb').read())")
    assert "BROKER" not in outer["output"]
    assert "venv" not in outer["output"]


CONNECT = """
import socket
for host, port in {targets!r}:
    s = socket.socket(); s.settimeout(2)
    try:
        s.connect((host, port)); print("REACHED", host, port)
    except OSError as error:
        print(type(error).__name__)
try:
    socket.getaddrinfo("broker", 8000); print("REACHED name service")
except OSError as error:
    print(type(error).__name__)
"""


def test_job_has_no_network(bundle: Bundle) -> None:
    networks = wrapped(bundle.broker).attrs["NetworkSettings"]["Networks"].values()
    targets = [(net["IPAddress"], 8000) for net in networks] + [
        (net["Gateway"], 8000) for net in networks if net["Gateway"]
    ]
    targets += [("127.0.0.1", 8443), ("127.0.0.1", 8000)]
    output = bundle.run(CONNECT.format(targets=targets))["output"]
    assert "REACHED" not in output
    assert len(output.splitlines()) == len(targets) + 1


KILL_EVERYTHING = """
import os, signal
try:
    os.kill(-1, signal.SIGKILL)
except OSError as error:
    print(error)
"""


def test_job_cannot_touch_its_neighbour(bundle: Bundle) -> None:
    neighbour = bundle.submit("import time\nopen('/tmp/secret','w').write('x')\ntime.sleep(3)\nprint('unharmed')")
    wait_until(
        lambda: bundle.get(f"/status/{neighbour}").json()["status"] in ("running", "completed"),
        seconds=120,
        what="neighbour runs",
    )
    bundle.run(KILL_EVERYTHING)
    assert bundle.run("import os; print(os.path.exists('/tmp/secret'))")["output"] == "False\n"
    assert bundle.result(neighbour)["output"] == "unharmed\n"


@pytest.mark.parametrize("victim", ["sandrun", "agent"])
def test_one_program_dying_ends_the_node_container(victim: str) -> None:
    with Bundle(nodes=1) as own:
        (node,) = nodes_of(own)
        pid = wait_until(lambda: pid_of(node, victim), seconds=120, what=f"{victim} runs")
        subprocess.run(["kill", "-KILL", pid], check=True, timeout=60)
        status = wrapped(node).wait(timeout=120)
        assert status["StatusCode"] not in (0, 137), status


def pid_of(node: ServiceContainer, program: str) -> str | None:
    """Found from outside: the node image has no process tools."""
    command = ["docker", "top", node.get_container_id(), "-eo", "pid,args"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = [line.split()[0] for line in listing.splitlines()[1:] if is_program(line, program)]
    return found[0] if len(found) == 1 else None


def is_program(line: str, victim: str) -> bool:
    arguments = line.split()[1:]
    return (
        "supervisor" not in line and "docker-init" not in line and any(victim in argument for argument in arguments[:4])
    )
