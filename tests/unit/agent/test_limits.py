"""Cores and memory as cgroups allow them, read from made-up trees of both versions."""

from pathlib import Path

import pytest

from agent import limits

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))


def tree(root: Path, files: dict[str, str]) -> Path:
    files = {"proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\n", **files}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        pytest.param({}, 8, 16 * GIB, id="no cgroups"),
        pytest.param(
            {"sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": f"{2 * GIB}\n"},
            1,
            2 * GIB,
            id="version 2 in a container: a core and a half is one",
        ),
        pytest.param(
            {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}, 8, 16 * GIB, id="no limit"
        ),
        pytest.param({"sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1, 16 * GIB, id="a fifth of a core counts as one"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/node.service\n",
                "sys/fs/cgroup/system.slice/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/system.slice/node.service/cpu.max": "max 100000\n",
                "sys/fs/cgroup/system.slice/node.service/memory.max": f"{4 * GIB}\n",
            },
            4,
            4 * GIB,
            id="version 2 on a host: limits of the folders above hold too",
        ),
        pytest.param(
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n",
            },
            3,
            3 * GIB,
            id="version 1",
        ),
        pytest.param(
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            8,
            16 * GIB,
            id="version 1 without limits",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\nnonsense\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n",
            },
            2,
            GIB,
            id="version 1 without a cgroup namespace",
        ),
    ],
)
def test_limits(tmp_path: Path, files: dict[str, str], cores: int, memory: int) -> None:
    root = tree(tmp_path, files)
    assert (limits.cpu_cores(root), limits.memory_bytes(root)) == (cores, memory)


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "100000 0\n"},
        {"sys/fs/cgroup/cpu.max": "-1 100000\n", "sys/fs/cgroup/memory.max": "--5\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "0\n"},
        {"sys/fs/cgroup/cpu.max": "", "sys/fs/cgroup/memory.max": "0\n", "proc/self/cgroup": ":::\n\n0\n"},
    ],
)
def test_limits_that_say_nothing_are_none(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, files)
    assert (limits.cpu_cores(root), limits.memory_bytes(root)) == (8, 16 * GIB)


def test_files_of_bytes_say_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal:\n"})
    for name in ("cpu.max", "memory.max"):
        (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_bytes(b"\xff\xfe\x80")
    assert limits.cpu_cores(root) == 8
    assert limits.memory_bytes(root) > 0
