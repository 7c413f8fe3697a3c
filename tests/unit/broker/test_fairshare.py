"""Who is next: turns between submitters, head starts for priorities, and an end to waiting."""

import heapq
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from broker.domain.fairshare import HEAD_START, FairShare


class Queue:
    """Jobs claimed by rank, then arrival, as the store does."""

    def __init__(self) -> None:
        self.fair = FairShare()
        self.heap: list[tuple[float, int, str]] = []
        self.arrival = count()

    def submit(self, who: str, jobs: int = 1, priority: int = 5) -> None:
        for _ in range(jobs):
            heapq.heappush(self.heap, (self.fair.stamp(who, priority), next(self.arrival), who))

    def claim(self, jobs: int = 1) -> list[str]:
        claimed = []
        for _ in range(min(jobs, len(self.heap))):
            claimed.append(heapq.heappop(self.heap)[2])
            self.fair.claimed()
        if not self.heap:
            self.fair.idle()
        return claimed


def test_one_submitter_is_served_in_order_of_arrival() -> None:
    fair = FairShare()
    ranks = [fair.stamp("ann", 5) for _ in range(5)]
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
    queue.submit("a", 100)
    queue.submit("b", 100)
    queue.submit("c", 100)
    served = queue.claim(30)
    assert {who: served.count(who) for who in "abc"} == {"a": 10, "b": 10, "c": 10}


def test_a_newcomer_gets_its_share_from_now_on_not_the_past() -> None:
    queue = Queue()
    queue.submit("old", 1_000)
    queue.claim(500)
    queue.submit("new", 1_000)
    served = queue.claim(100)
    assert 45 <= served.count("new") <= 55


def test_an_urgent_job_goes_before_its_own_submitters_backlog() -> None:
    queue = Queue()
    queue.submit("ann", 10_000)
    queue.submit("ann", 1, priority=9)
    queue.submit("bob", 1, priority=6)
    assert queue.claim(2) == ["ann", "bob"]


def test_low_priority_waits_a_bounded_number_of_claims() -> None:
    queue = Queue()
    queue.submit("patient", 1, priority=4)
    served = []
    while "patient" not in served:
        queue.submit("urgent", 1, priority=5)
        served += queue.claim(1)
        assert len(served) <= HEAD_START * 2 + 2


def test_an_idle_queue_forgets_past_use() -> None:
    queue = Queue()
    queue.submit("busy", 500)
    queue.claim(500)
    queue.submit("busy")
    queue.submit("fresh")
    assert queue.claim(1) == ["busy"], "first come, first served again"
    assert queue.fair.active_flows <= 2


def test_a_restart_keeps_the_turns() -> None:
    queue = Queue()
    queue.submit("greedy", 1_000)
    queue.claim(400)
    ranks = [rank for rank, _, _ in queue.heap]
    queue.fair = FairShare()
    queue.fair.restore("greedy", 5, min(ranks), max(ranks))
    queue.submit("modest")
    assert "modest" in queue.claim(3)
    queue.submit("greedy")
    assert max(queue.heap)[2] == "greedy"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 20)), max_size=40))
def test_the_clock_never_goes_back_and_flows_are_forgotten(steps: list[tuple[str, int, int]]) -> None:
    queue = Queue()
    before = queue.fair.clock
    for who, priority, jobs in steps:
        queue.submit(who, jobs, priority)
        queue.claim(jobs // 2)
        assert queue.fair.clock >= before
        before = queue.fair.clock
    queue.claim(10**6)
    assert queue.fair.active_flows == 0
