"""When several results are one, and which nodes a class bars."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.barring import barred_from, barring, base_of
from broker.domain.placement import JobClass
from broker.domain.retry import Again, Counters, Over
from broker.domain.verification import Standing, Word, after_result, default_quorum, result_digest, weigh
from broker.domain.words import Failure

COUNTERS = Counters(losses=2, reruns=1, max_retries=3, cancel_requested=False)
PLANS = [(replicas, quorum) for replicas in range(2, 10) for quorum in range(2, replicas + 1)]


@pytest.mark.parametrize(
    ("replicas", "quorum", "digests", "standing"),
    [
        (2, 2, "a", Standing(Word.OPEN, 1, 1)),
        (2, 2, "aa", Standing(Word.AGREED, 2, 2)),
        (2, 2, "ab", Standing(Word.DISAGREED, 2, 1)),
        (3, 2, "ab", Standing(Word.OPEN, 2, 1)),
        (3, 2, "aba", Standing(Word.AGREED, 3, 2)),
        (3, 2, "abb", Standing(Word.AGREED, 3, 2)),
        (3, 2, "abc", Standing(Word.DISAGREED, 3, 1)),
        (3, 3, "ab", Standing(Word.DISAGREED, 2, 1)),
        (5, 3, "aab", Standing(Word.OPEN, 3, 2)),
        (5, 4, "aabb", Standing(Word.DISAGREED, 4, 2)),
    ],
)
def test_results_amount_to(replicas: int, quorum: int, digests: str, standing: Standing) -> None:
    assert weigh(replicas, quorum, list(digests)) == standing


@given(st.sampled_from(PLANS), st.lists(st.sampled_from("abc"), min_size=9, max_size=9))
def test_every_order_of_results_comes_to_one_end(plan: tuple[int, int], given: list[str]) -> None:
    """Open until the first end; an end comes at latest with the last replica, and no later result could change it."""
    replicas, quorum = plan
    words = [weigh(replicas, quorum, given[:count]).word for count in range(1, replicas + 1)]
    end = next(place for place, word in enumerate(words) if word is not Word.OPEN)
    digests = given[: end + 1]
    if words[end] is Word.AGREED:
        assert digests.count(digests[-1]) == quorum, "not one run more than it takes"
    else:
        for rest in itertools.product("abcd", repeat=min(3, replicas - len(digests))):
            assert all(
                weigh(replicas, quorum, [*digests, *rest[:n]]).word is Word.DISAGREED for n in range(1, len(rest))
            )


def test_the_default_quorum_is_more_than_half() -> None:
    assert [default_quorum(replicas) for replicas in range(2, 10)] == [2, 2, 3, 3, 4, 4, 5, 5]


def test_what_follows_a_result() -> None:
    end = Over(Failure.EXIT, 2, 1)
    assert after_result(Word.AGREED, COUNTERS, None) is None
    assert after_result(Word.AGREED, COUNTERS, end) is end
    assert after_result(Word.DISAGREED, COUNTERS, end) == Over(Failure.VERIFICATION, 2, 1)
    assert after_result(Word.OPEN, COUNTERS, None) == Again(0.0, 2, 1), "a replica is no retry"
    cancelled = Counters(2, 1, 3, cancel_requested=True)
    assert after_result(Word.OPEN, cancelled, None) == Over(Failure.CANCELLED, 2, 1)
    assert after_result(Word.AGREED, cancelled, None) is None, "it was faster than the cancel"


RESULT = {
    "verdict": "completed",
    "exit_code": 0,
    "signal": None,
    "streams": [(b"out", 3), (b"err", 3)],
    "files": [("a", "1" * 64), ("b", "2" * 64)],
    "dropped": [("big", 10), ("link", None)],
}


@pytest.mark.parametrize(
    "other",
    [
        {"verdict": "exit"},
        {"exit_code": 1},
        {"signal": 9},
        {"streams": [(b"err", 3), (b"out", 3)]},
        {"streams": [(b"out", 4), (b"err", 3)]},
        {"streams": [(b"o", 1), (b"uterr", 5)]},
        {"files": [("a", "1" * 64)]},
        {"files": [("a", "2" * 64), ("b", "1" * 64)]},
        {"dropped": [("big", 11), ("link", None)]},
        {"dropped": []},
    ],
)
def test_what_tells_results_apart(other: dict[str, object]) -> None:
    assert result_digest(**RESULT) != result_digest(**RESULT | other)  # type: ignore[arg-type]


def test_the_order_of_files_does_not_matter() -> None:
    turned = RESULT | {"files": RESULT["files"][::-1], "dropped": RESULT["dropped"][::-1]}  # type: ignore[index]
    assert result_digest(**RESULT) == result_digest(**turned)  # type: ignore[arg-type]


LABELS = st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=3).map(lambda pairs: tuple(sorted(pairs)))
NODES = st.frozensets(st.from_regex(r"node-[0-9a-f]{4}", fullmatch=True), min_size=1, max_size=9)


@given(LABELS, NODES, NODES)
def test_a_class_that_bars_nodes_asks_for_the_same(
    labels: tuple[tuple[str, str], ...], nodes: frozenset[str], more: frozenset[str]
) -> None:
    job_class = JobClass("python3", labels=labels, region="eu\nwest")
    key = job_class.key()
    barred = barring(key, nodes)
    assert (base_of(key), barred_from(key)) == (key, frozenset())
    assert (base_of(barred), barred_from(barred)) == (key, nodes)
    assert JobClass.from_key(barred) == job_class
    assert barring(barred, more) == barring(key, more), "nobody is barred but those that are named"
