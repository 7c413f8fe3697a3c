"""Who is next: turns between submitters, head starts for priorities, and an end to waiting."""

import heapq
from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from broker.domain.fairshare import HEAD_START, FairShare


class Queue:
    """Jobs claimed by rank, then arrival, within the classes that a node can run, as the store does."""

    def __init__(self) -> None:
        self.fair = FairShare()
        self.heaps: dict[str, list[tuple[float, int, str, int]]] = {}
        self.arrival = count()

    def submit(self, who: str, jobs: int = 1, priority: int = 5, of: str = "python3") -> None:
        for _ in range(jobs):
            rank = self.fair.stamp(of, (who, priority))
            heapq.heappush(self.heaps.setdefault(of, []), (rank, next(self.arrival), who, priority))

    def claim(self, jobs: int = 1, classes: tuple[str, ...] = ("python3",)) -> list[str]:
        claimed = []
        for _ in range(jobs):
            ready = [(self.heaps[key][0], key) for key in classes if self.heaps.get(key)]
            if not ready:
                break
            (rank, _, who, priority), key = min(ready)
            heapq.heappop(self.heaps[key])
            claimed.append(who)
            self.fair.claimed(key, rank, priority)
            self.fair.count((who, priority), -1)
            if not self.heaps[key]:
                self.fair.drained(key)
        if not any(self.heaps.values()):
            self.fair.idle()
        return claimed


def test_one_submitter_is_served_in_order_of_arrival() -> None:
    fair = FairShare()
    ranks = [fair.stamp("python3", ("ann", 5)) for _ in range(5)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 5


def test_ten_thousand_jobs_of_one_do_not_delay_anothers_single_job() -> None:
    queue = Queue()
    queue.submit("greedy", 10_000)
    queue.claim(3_000)
    queue.submit("modest")
    assert "modest" in queue.claim(3)


def test_submitters_take_turns() -> None:
    queue = Queue()
    for who in "abc":
        queue.submit(who, 100)
    served = Counter(queue.claim(30))
    assert served == {"a": 10, "b": 10, "c": 10}


def test_a_newcomer_gets_its_share_from_now_on_not_the_past() -> None:
    queue = Queue()
    queue.submit("old", 1_000)
    queue.claim(500)
    queue.submit("new", 1_000)
    assert 45 <= queue.claim(100).count("new") <= 55


def test_submitters_who_stopped_do_not_hold_the_clock_back() -> None:
    """Pending jobs that no node can run must not let newcomers overtake those who wait for what runs."""
    queue = Queue()
    for number in range(20):
        queue.submit(f"stuck-{number}", 50, of="ruby")
    queue.submit("early", 400)
    queue.claim(200)
    queue.submit("late", 400)
    assert 30 <= queue.claim(100).count("late") <= 70


def test_a_fast_class_does_not_send_newcomers_of_a_slow_one_to_the_end() -> None:
    queue = Queue()
    queue.submit("greedy", 3_000, of="fast")
    queue.submit("greedy", 3_000, of="slow")
    queue.claim(2_500, classes=("fast",))
    queue.claim(10, classes=("slow",))
    queue.submit("modest", of="slow")
    queue.submit("modest", of="fast")
    assert "modest" in queue.claim(3, classes=("slow",))
    assert "modest" in queue.claim(3, classes=("fast",))


def test_many_kinds_of_jobs_are_no_way_to_a_larger_share() -> None:
    queue = Queue()
    kinds = tuple(f"memory-{number}" for number in range(100))
    for kind in kinds:
        queue.submit("greedy", 10, of=kind)
    queue.claim(100, classes=kinds)
    queue.submit("modest", of=kinds[0])
    assert "modest" in queue.claim(15, classes=kinds)


def test_an_urgent_job_goes_before_its_own_submitters_backlog() -> None:
    queue = Queue()
    queue.submit("ann", 10_000)
    queue.submit("ann", 1, priority=9)
    queue.submit("bob", 1, priority=6)
    assert queue.claim(2) == ["ann", "bob"]


def test_low_priority_waits_a_bounded_number_of_claims() -> None:
    """Also when every urgent job comes from somebody new."""
    queue = Queue()
    queue.submit("patient", 1, priority=4)
    served: list[str] = []
    while "patient" not in served:
        queue.submit(f"urgent-{len(served)}", 1, priority=5)
        served += queue.claim(1)
        assert len(served) <= HEAD_START * 2 + 2


def test_an_idle_queue_forgets_past_use() -> None:
    queue = Queue()
    queue.submit("busy", 500)
    queue.claim(500)
    queue.submit("busy")
    queue.submit("fresh")
    assert queue.claim(1) == ["busy"], "first come, first served again"


def test_a_restart_keeps_the_turns() -> None:
    queue = Queue()
    queue.submit("greedy", 1_000)
    queue.claim(400)
    ranks = [rank for rank, *_ in queue.heaps["python3"]]
    queue.fair = FairShare()
    queue.fair.restore("python3", ("greedy", 5), min(ranks), max(ranks), len(ranks))
    queue.submit("modest")
    assert "modest" in queue.claim(3)
    queue.submit("greedy")
    assert max(queue.heaps["python3"])[2] == "greedy", "its later jobs stay behind its earlier ones"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(["x", "y"]), st.integers(1, 20)),
        max_size=40,
    )
)
def test_clocks_never_go_back_and_accounts_come_out_even(steps: list[tuple[str, int, str, int]]) -> None:
    queue = Queue()
    before = {"x": 0.0, "y": 0.0}
    for who, priority, of, jobs in steps:
        queue.submit(who, jobs, priority, of)
        queue.claim(jobs // 2, classes=(of,))
        assert queue.fair.clock(of) >= before[of]
        before[of] = queue.fair.clock(of)
    queue.claim(10**6, classes=("x", "y"))
    assert queue.fair.active_flows == 0
