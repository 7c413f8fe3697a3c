"""Cgroups of both versions, on invented trees; a directory's files appear as the kernel would make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandrun.sandbox import cgroup
from sandrun.sandbox.container import ContainerMemory, cpu_quota, pids_limit


def kernel_files(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """Make every new directory a cgroup with these files, and rmdir forget them, as cgroupfs does."""
    real_mkdir, real_rmdir = Path.mkdir, Path.rmdir

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        real_mkdir(self, *args, **kwargs)  # type: ignore[arg-type]
        for name, content in files.items():
            (self / name).write_text(content)

    def rmdir(self: Path) -> None:
        for name in [entry.name for entry in self.iterdir()]:
            (self / name).unlink()
        real_rmdir(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)


V2_JOB = {
    "cgroup.procs": "",
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.oom.group": "0",
    "memory.stat": "anon 1000\nfile 9\nshmem 500\n",
    "memory.events": "low 0\noom 1\noom_kill 0\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
}
V1_JOB = {
    "cgroup.procs": "",
    "memory.limit_in_bytes": "9223372036854771712",
    "memory.stat": "cache 9\nrss 1000\nshmem 500\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "cpuacct.usage": "2500000000",
}


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "cgroup.subtree_control").write_text("")
    kernel_files(monkeypatch, V2_JOB)
    return tmp_path


@pytest.fixture
def v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("memory", "cpuacct"):
        (tmp_path / name).mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1")
    (tmp_path / "cpuacct" / "cpuacct.usage").write_text("1")
    kernel_files(monkeypatch, V1_JOB)
    return tmp_path


def found(path: Path) -> cgroup.CgroupParent:
    parent = cgroup.find(str(path))
    assert parent is not None
    return parent


def test_version_2(v2: Path) -> None:
    parent = found(v2)
    assert parent.version == 2
    assert (v2 / "cgroup.subtree_control").read_text() == "+memory"
    job = parent.job("abc", 64 << 20)
    directory = v2 / "sandrun-job-abc"
    assert (directory / "memory.max").read_text() == str(64 << 20)
    assert (directory / "memory.swap.max").read_text() == "0"
    assert (directory / "memory.oom.group").read_text() == "1"
    job.add(4242)
    assert (directory / "cgroup.procs").read_text() == "4242"
    assert (job.memory_bytes(), job.cpu_seconds(), job.out_of_memory()) == (1500, 1.5, False)
    (directory / "memory.events").write_text("oom 3\noom_kill 1\n")
    assert job.out_of_memory()
    job.remove()
    assert not directory.exists()


def test_version_1_with_cpu_accounting(v1: Path) -> None:
    parent = found(v1)
    assert parent.version == 1
    job = parent.job("abc", 64 << 20)
    assert (v1 / "memory/sandrun-job-abc/memory.limit_in_bytes").read_text() == str(64 << 20)
    job.add(77)
    for hierarchy in ("memory", "cpuacct"):
        assert (v1 / hierarchy / "sandrun-job-abc/cgroup.procs").read_text() == "77"
    assert (job.memory_bytes(), job.cpu_seconds(), job.out_of_memory()) == (1500, 2.5, False)
    job.remove()
    assert [entry.name for entry in (v1 / "cpuacct").iterdir()] == ["cpuacct.usage"]


def test_version_1_with_a_memory_cgroup_alone(v1: Path) -> None:
    job = found(v1 / "memory").job("x", 1 << 20)
    assert job.cpu_seconds() == 0.0


def test_the_probe_leaves_nothing(v2: Path) -> None:
    found(v2)
    assert not [entry for entry in v2.iterdir() if entry.is_dir()]


def test_what_a_crash_left_is_removed(v2: Path) -> None:
    (v2 / "sandrun-job-old").mkdir()
    found(v2)
    assert not (v2 / "sandrun-job-old").exists()


def test_a_directory_that_is_no_cgroup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a cgroup"):
        cgroup.find(str(tmp_path))


def test_a_delegation_without_memory_is_refused(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_files(monkeypatch, {})
    real = Path.write_text

    def write_text(self: Path, *args: object, **kwargs: object) -> int:
        if self.name == "memory.max" and not self.exists():
            raise PermissionError("no controller")
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    for name in V2_JOB:
        monkeypatch.setitem(V2_JOB, name, V2_JOB[name])
    monkeypatch.setattr(Path, "write_text", write_text)
    with monkeypatch.context() as context:
        context.delitem(V2_JOB, "memory.max")
        with pytest.raises(PermissionError):
            cgroup.find(str(v2))


class TestContainer:
    def test_version_2(self, tmp_path: Path) -> None:
        (tmp_path / "memory.max").write_text("2147483648\n")
        (tmp_path / "memory.current").write_text("1000\n")
        (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 100\nactive_file 50\n")
        (tmp_path / "memory.events").write_text("oom 2\noom_kill 3\n")
        memory = ContainerMemory.find(tmp_path)
        assert memory is not None
        assert (memory.limit_bytes, memory.used_bytes(), memory.oom_kills()) == (2 << 30, 850, 3)

    def test_version_1(self, tmp_path: Path) -> None:
        directory = tmp_path / "memory"
        directory.mkdir()
        (directory / "memory.limit_in_bytes").write_text("1073741824\n")
        (directory / "memory.usage_in_bytes").write_text("1000\n")
        (directory / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50\n")
        (directory / "memory.oom_control").write_text("under_oom 0\noom_kill 1\n")
        memory = ContainerMemory.find(tmp_path)
        assert memory is not None
        assert (memory.limit_bytes, memory.used_bytes(), memory.oom_kills()) == (1 << 30, 850, 1)

    @pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n"])
    def test_no_limit(self, tmp_path: Path, limit: str) -> None:
        (tmp_path / "memory.max").write_text(limit)
        assert ContainerMemory.find(tmp_path) is None

    @pytest.mark.parametrize(
        ("files", "quota"),
        [
            ({"cpu.max": "150000 100000\n"}, 1.5),
            ({"cpu.max": "max 100000\n"}, None),
            ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
            ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
            ({}, None),
        ],
    )
    def test_cpu_quota(self, tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        assert cpu_quota(tmp_path) == quota

    def test_pids_limit(self, tmp_path: Path) -> None:
        assert pids_limit(tmp_path) is None
        (tmp_path / "pids").mkdir()
        (tmp_path / "pids" / "pids.max").write_text("512\n")
        assert pids_limit(tmp_path) == 512
        (tmp_path / "pids.max").write_text("max\n")
        assert pids_limit(tmp_path) == 512

    def test_no_cgroup_in_view(self, tmp_path: Path) -> None:
        assert ContainerMemory.find(tmp_path) is None
