"""Measuring a process tree from /proc: on invented trees, so that every kernel's behaviour can be staged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandrun.sandbox import procfs
from sandrun.sandbox.cpu import CpuMeter
from sandrun.sandbox.memory import MemoryMeter
from sandrun.sandbox.sockets import SocketMeter
from sandrun.sandbox.spec import MIB
from unit.sandrun.builders import a_process

TICK = 1 / procfs.CLOCK_TICKS


def stat_line(pid: int, command: str = "python3", /, **fields: int) -> str:
    values = {
        "ppid": 1,
        "utime": 0,
        "stime": 0,
        "cutime": 0,
        "cstime": 0,
        "threads": 1,
        "start": 5,
        "rss": 100,
        "code": 0,
        "vsize": 1 << 20,
    }
    values |= fields
    middle = [values["ppid"], 2, 2, 0, -1, 0, 0, 0, 0, 0]
    times = [values["utime"], values["stime"], values["cutime"], values["cstime"], 20, 0, values["threads"], 0]
    rest = [values["start"], values["vsize"], values["rss"], *([0] * 27), values["code"]]
    return f"{pid} ({command}) S " + " ".join(map(str, middle + times + rest)) + "\n"


class Tree:
    """A directory that looks like a /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    def add(
        self, pid: int, *, anon: int = 0, shmem: int = 0, pss: int | None = None, pss_shmem: int = 0, **stat: int
    ) -> None:
        directory = self.root / str(pid)
        directory.mkdir(exist_ok=True)
        rss = stat.pop("rss", (anon + shmem) // procfs.PAGE_SIZE)
        (directory / "stat").write_text(stat_line(pid, rss=rss, **stat))
        (directory / "status").write_text(f"Name:\tx\nRssAnon:\t{anon // 1024} kB\nRssShmem:\t{shmem // 1024} kB\n")
        share = anon if pss is None else pss
        (directory / "smaps_rollup").write_text(
            f"0-1 ---p 0 0:0 0 [rollup]\nPss_Anon: {share // 1024} kB\nPss_Shmem: {pss_shmem // 1024} kB\n"
        )

    def map_file(self, pid: int, device: int, size: int) -> None:
        text = (
            f"7f00-7f01 rw-s 00000000 {os.major(device):02x}:{os.minor(device):02x} 9 /tmp/x\nPss: {size // 1024} kB\n"
            f"7f02-7f03 rw-s 00000000 00:01 9 /dev/zero (deleted)\nPss: 4096 kB\n"
        )
        (self.root / str(pid) / "smaps").write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    (tmp_path / "meminfo").write_text("not a process")
    yield made
    os.close(made.fd)


def test_a_command_that_forges_the_line_changes_nothing() -> None:
    honest = procfs.parse_stat(7, stat_line(7, utime=3, threads=2).encode())
    forged = procfs.parse_stat(7, stat_line(7, "x) Z 1 (\n9", utime=3, threads=2).encode())
    assert forged == honest
    assert (forged.state, forged.own_ticks, forged.threads) == ("S", 3, 2)


def test_our_own_stat_line_is_understood() -> None:
    found = procfs.parse_stat(os.getpid(), Path("/proc/self/stat").read_bytes())
    assert found.parent == os.getppid()
    assert found.state == "R"
    assert found.resident_bytes > MIB


def test_a_scan_lists_processes_only(tree: Tree) -> None:
    tree.add(1)
    tree.add(2, threads=4)
    assert {process.pid: process.threads for process in procfs.scan(tree.fd)} == {1: 1, 2: 4}


def test_a_process_that_went_away_is_no_error(tree: Tree) -> None:
    assert procfs.read_process(tree.fd, 99) is None
    assert procfs.read_resident(tree.fd, 99).total == 0
    assert procfs.read_pss(tree.fd, 99).total == 0
    assert procfs.read_mapped_files(tree.fd, 99, {1}) == 0


class TestCpu:
    def test_live_processes_and_what_they_inherited_add_up(self) -> None:
        meter = CpuMeter()
        assert meter.add([a_process(2, own_ticks=10, children_ticks=5), a_process(3, own_ticks=7)]) == pytest.approx(
            22 * TICK
        )

    def test_a_child_that_was_waited_for_counts_once(self) -> None:
        meter = CpuMeter()
        meter.add([a_process(2, own_ticks=1), a_process(3, own_ticks=40)])
        assert meter.add([a_process(2, own_ticks=1, children_ticks=42)]) == pytest.approx(43 * TICK)
        assert meter.lost_seconds == 0

    def test_a_child_that_nobody_waited_for_is_not_lost(self) -> None:
        """Its parent ignores SIGCHLD: the kernel throws the account away."""
        meter = CpuMeter()
        meter.add([a_process(2, own_ticks=1), a_process(3, own_ticks=40)])
        assert meter.add([a_process(2, own_ticks=1)]) == pytest.approx(41 * TICK)
        assert meter.lost_seconds == pytest.approx(40 * TICK)

    def test_a_pid_used_again_is_another_process(self) -> None:
        meter = CpuMeter()
        meter.add([a_process(3, own_ticks=40, started=1)])
        assert meter.add([a_process(3, own_ticks=2, started=9)]) == pytest.approx(42 * TICK)

    @given(
        st.lists(
            st.dictionaries(st.integers(2, 6), st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=4),
            max_size=8,
        )
    )
    def test_it_never_falls(self, samples: list[dict[int, tuple[int, int]]]) -> None:
        meter = CpuMeter()
        last = 0.0
        grown: dict[int, tuple[int, int]] = {}
        for sample in samples:
            for pid, (own, children) in sample.items():  # as the kernel: a process's own figures only grow
                before = grown.get(pid, (0, 0))
                grown[pid] = (before[0] + own, before[1] + children)
            now = meter.add([a_process(pid, own_ticks=grown[pid][0], children_ticks=grown[pid][1]) for pid in sample])
            assert now >= last - 1e-9
            last = now


class TestMemory:
    def test_below_the_limit_nothing_more_is_asked(self, tree: Tree) -> None:
        tree.add(2, anon=50 * MIB)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 5 * MIB) == (55 * MIB, False)

    def test_a_hog_is_beyond(self, tree: Tree) -> None:
        tree.add(2, anon=70 * MIB)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 0) == (70 * MIB, True)

    def test_file_pages_are_not_held_against_a_job(self, tree: Tree) -> None:
        tree.add(2, anon=30 * MIB, rss=80 * MIB // procfs.PAGE_SIZE)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 0) == (30 * MIB, False)

    def test_pages_that_forked_processes_share_count_once(self, tree: Tree) -> None:
        for pid in range(2, 12):
            tree.add(pid, anon=40 * MIB, pss=5 * MIB)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 0) == (50 * MIB, False)

    def test_shared_anonymous_memory_counts(self, tree: Tree) -> None:
        tree.add(2, shmem=70 * MIB, pss_shmem=70 * MIB)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 0) == (70 * MIB, True)

    def test_files_count(self, tree: Tree) -> None:
        tree.add(2, anon=30 * MIB)
        assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 40 * MIB) == (70 * MIB, True)

    def test_a_mapped_file_counts_once(self, tree: Tree) -> None:
        device = os.makedev(0, 0x55)
        tree.add(2, anon=10 * MIB, shmem=40 * MIB, pss_shmem=40 * MIB)
        tree.map_file(2, device, 40 * MIB)
        meter = MemoryMeter(tree.fd, 64 * MIB, {device})
        assert meter.measure(procfs.scan(tree.fd), 40 * MIB) == (50 * MIB, False)

    def test_shared_memory_beside_files_is_not_taken_for_them(self, tree: Tree) -> None:
        tree.add(2, shmem=40 * MIB, pss_shmem=40 * MIB)
        tree.map_file(2, os.makedev(0, 0x77), 40 * MIB)
        meter = MemoryMeter(tree.fd, 64 * MIB, {os.makedev(0, 0x55)})
        assert meter.measure(procfs.scan(tree.fd), 40 * MIB) == (80 * MIB, True)

    def test_growth_after_an_exact_answer_is_noticed(self, tree: Tree) -> None:
        for pid in range(2, 12):
            tree.add(pid, anon=40 * MIB, pss=5 * MIB)
        meter = MemoryMeter(tree.fd, 64 * MIB, ())
        assert meter.measure(procfs.scan(tree.fd), 0) == (50 * MIB, False)
        tree.add(2, anon=60 * MIB, pss=25 * MIB)  # 20 MiB more, of its own
        assert meter.measure(procfs.scan(tree.fd), 0) == (70 * MIB, True)

    def test_an_exact_answer_is_not_asked_for_again_without_growth(self, tree: Tree) -> None:
        for pid in range(2, 12):
            tree.add(pid, anon=40 * MIB, pss=5 * MIB)
        meter = MemoryMeter(tree.fd, 64 * MIB, ())
        meter.measure(procfs.scan(tree.fd), 0)
        for pid in range(2, 12):
            (tree.root / str(pid) / "smaps_rollup").write_text("Pss_Anon: 999999 kB\n")  # would now say otherwise
        assert meter.measure(procfs.scan(tree.fd), 0) == (50 * MIB, False)


class TestSockets:
    SOCKSTAT = "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc 9 mem 3\nUDP: inuse 0 mem 0\n"
    LINE = "   {n}: 0100007F:8E21 0100007F:D202 01 {tx:08X}:{rx:08X} 00:00000000 00000000  1000 0 0 1 0 20 4 32 10 -1\n"

    def net(self, tree: Tree, *, used: int, tcp: int = 0, queues: tuple[tuple[int, int], ...] = ()) -> SocketMeter:
        directory = tree.root / "1" / "net"
        directory.mkdir(parents=True)
        (directory / "sockstat").write_text(self.SOCKSTAT.format(used=used, tcp=tcp))
        (directory / "sockstat6").write_text("TCP6: inuse 0\n")
        lines = (self.LINE.format(n=n, tx=tx, rx=rx) for n, (tx, rx) in enumerate(queues))
        (directory / "tcp").write_text("  sl  local_address rem_address   st tx_queue rx_queue\n" + "".join(lines))
        return SocketMeter(tree.fd)

    def test_a_few_count_nothing(self, tree: Tree) -> None:
        assert self.net(tree, used=64).measure() == 0

    def test_many_count_with_the_buffer_that_each_may_fill(self, tree: Tree) -> None:
        assert self.net(tree, used=164).measure() == pytest.approx(100 * 212_992, rel=0.5)

    def test_tcp_counts_with_what_is_queued(self, tree: Tree) -> None:
        assert self.net(tree, used=4, tcp=3, queues=((0, 0), (1000, 24), (0, 4 * MIB))).measure() == 4 * MIB + 1024

    def test_what_sockets_hold_adds_to_the_rest(self, tree: Tree) -> None:
        tree.add(2, anon=40 * MIB)
        meter = MemoryMeter(tree.fd, 64 * MIB, ())
        assert meter.measure(procfs.scan(tree.fd), 0, 30 * MIB) == (70 * MIB, True)
        assert meter.measure(procfs.scan(tree.fd), 0, 20 * MIB) == (60 * MIB, False)

    def test_a_sandbox_that_is_gone_holds_nothing(self, tree: Tree) -> None:
        assert SocketMeter(tree.fd).measure() == 0


def test_page_tables_count(tree: Tree) -> None:
    """Reading one byte of every 2 MiB: nothing resident, gigabytes of tables."""
    tree.add(2, anon=1 * MIB, vsize=1 << 40)
    (tree.root / "2" / "status").write_text("RssAnon:\t1024 kB\nRssShmem:\t0 kB\nVmPTE:\t102400 kB\n")
    assert MemoryMeter(tree.fd, 64 * MIB, ()).measure(procfs.scan(tree.fd), 0) == (101 * MIB, True)
