"""Every byte is counted, head and tail are kept, and reading from an offset never repeats or invents a byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandrun.sandbox.output import OutputBuffer


def filled(keep: int, *chunks: bytes) -> OutputBuffer:
    buffer = OutputBuffer(keep)
    for chunk in chunks:
        buffer.append(chunk)
    return buffer


def test_what_fits_is_kept_whole() -> None:
    kept = filled(10, b"hello", b"world").captured()
    assert (kept.head + kept.tail, kept.cut, kept.total) == (b"helloworld", 0, 10)


def test_beyond_the_bound_head_and_tail_are_kept_and_the_rest_counted() -> None:
    kept = filled(10, b"0123456789abcdefghij").captured()
    assert (kept.head, kept.tail, kept.cut) == (b"01234", b"fghij", 10)


@given(st.lists(st.binary(max_size=50), max_size=60), st.integers(2, 64))
def test_head_and_tail_are_a_prefix_and_a_suffix(chunks: list[bytes], keep: int) -> None:
    printed = b"".join(chunks)
    kept = filled(keep, *chunks).captured()
    assert kept.total == len(printed)
    assert printed.startswith(kept.head)
    assert printed.endswith(kept.tail)
    assert len(kept.head) + len(kept.tail) == min(len(printed), keep)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=40), st.integers(2, 64))
def test_a_follower_sees_what_is_kept_in_order(chunks: list[bytes], keep: int) -> None:
    buffer = OutputBuffer(keep)
    printed = b""
    offset = 0
    for chunk in chunks:
        buffer.append(chunk)
        printed += chunk
        while True:
            found = buffer.read_from(offset)
            assert found.start >= offset
            assert printed[found.start : found.next] == found.data
            if not found.data:
                break
            offset = found.next
    assert offset == len(printed)


def test_a_follower_that_keeps_up_misses_nothing_however_much_is_printed() -> None:
    buffer = OutputBuffer(1024)
    seen = b""
    for number in range(1000):
        buffer.append(b"%d\n" % number)
        seen += buffer.read_from(len(seen)).data
    assert seen == b"".join(b"%d\n" % number for number in range(1000))


def test_byte_by_byte_printing_costs_no_more_memory() -> None:
    buffer = OutputBuffer(64 * 1024)
    for _ in range(200_000):
        buffer.append(b"x")
    assert len(buffer._tail) <= 3  # chunks, not one object for each byte
    assert buffer.captured().cut == 200_000 - 64 * 1024


def test_an_offset_beyond_the_end_gives_nothing() -> None:
    found = filled(10, b"abc").read_from(99)
    assert (found.data, found.start) == (b"", 3)
