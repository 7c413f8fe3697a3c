"""Whose webhook is sent next."""

from broker.service.outbox import Outbox


def _taken(outbox: Outbox) -> list[tuple[str, str]]:
    found = []
    while (turn := outbox.take()) is not None:
        found.append(turn)
    return found


def test_hosts_take_turns_and_have_a_few_each() -> None:
    outbox = Outbox(most=6, most_each=2)
    for number in range(1000):
        outbox.add("dead", f"d{number}")
    outbox.add("a", "a0")
    outbox.add("b", "b0")
    outbox.add("b", "b1")
    assert _taken(outbox) == [("dead", "d0"), ("a", "a0"), ("b", "b0"), ("dead", "d1"), ("b", "b1")]
    assert len(outbox) == 1003
    outbox.done("dead")
    assert _taken(outbox) == [("dead", "d2")], "it has its two again"
    outbox.add("c", "c0")
    outbox.add("c", "c1")
    assert _taken(outbox) == [("c", "c0")], "six are under way"
    outbox.done("b")
    assert _taken(outbox) == [("c", "c1")]


def test_nothing_is_kept_of_hosts_that_nobody_calls() -> None:
    outbox = Outbox(most=16, most_each=4)
    for number in range(100):
        outbox.add(f"host-{number}", "x")
        assert outbox.take() == (f"host-{number}", "x")
        outbox.done(f"host-{number}")
    assert (outbox.hosts, len(outbox)) == (0, 0)
