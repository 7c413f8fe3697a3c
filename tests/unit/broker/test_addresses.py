"""Whose address a call comes from, what counts as one address, and how many places each may take."""

import pytest

from broker.api.caller import bucket, client_address
from broker.api.crowd import MOST_PUBLIC, Crowd
from broker.errors import OverloadedError
from broker.settings import load_settings
from broker.shell.limits import Doors, parse_networks

PROXIES = parse_networks("10.0.0.0/8, fd00::/8")


def scope(peer: str | None, *forwarded: str) -> dict[str, object]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], "198.51.100.1"),
        (None, ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        (None, ["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (None, ["198.51.100.1, nonsense"], "unknown"),
        (None, ["198.51.100.1, "], "198.51.100.1"),
        (None, ["198.51.100.1:4711"], "unknown"),
        (None, ["2001:db8::1, fd00::1"], "2001:db8::1"),
        (None, ["\xff"], "unknown"),
        (None, ["1.1.1.1," * 5000 + "198.51.100.1"], "198.51.100.1"),
        (None, [], "unknown"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.1"),
    ],
)
def test_only_what_a_proxy_wrote_counts(peer: str | None, forwarded: list[str], address: str) -> None:
    assert client_address(scope(peer, *forwarded), PROXIES) == address


def test_an_ipv6_customer_is_one_address_whatever_he_makes_of_it() -> None:
    ones = {bucket(scope(None, f"2001:db8:1:2:{n:x}::{n:x}"), PROXIES) for n in range(50)}
    assert len(ones) == 1
    assert bucket(scope(None, "2001:db8:1:3::1"), PROXIES) not in ones
    assert bucket(scope(None, "::ffff:198.51.100.1"), PROXIES) == "198.51.100.1"


def test_behind_a_proxy_each_address_has_its_share_of_calls() -> None:
    crowd = Crowd(load_settings(trusted_proxies="10.0.0.0/8", max_connections_per_address=MOST_PUBLIC + 50))
    mine, theirs = scope("10.0.0.1", "198.51.100.1"), scope(None, "198.51.100.2")
    places = [crowd.enter(mine, public=True) for _ in range(MOST_PUBLIC)]
    with pytest.raises(OverloadedError):
        crowd.enter(mine, public=True)
    places += [crowd.enter(mine, public=False) for _ in range(MOST_PUBLIC + 50)]
    with pytest.raises(OverloadedError):
        crowd.enter(mine, public=False)
    crowd.leave(crowd.enter(theirs, public=True))
    assert crowd.enter(scope("198.51.100.1"), public=True) is None, "a connection of its own was counted already"
    for place in places:
        crowd.leave(place)
    assert not crowd._under_way
    crowd.leave(crowd.enter(mine, public=True))


def test_whatever_comes_through_the_proxy_the_nodes_get_in() -> None:
    doors = Doors(most=10, most_each=10, trusted=PROXIES)
    proxied = [doors.enter(address) for address in (None, "10.0.0.1") * 4]
    assert (doors.enter(None), doors.enter("10.0.0.1")) == (None, None)
    assert [doors.enter("192.0.2.1"), doors.enter("192.0.2.2"), doors.enter("192.0.2.3")] == [
        "192.0.2.1",
        "192.0.2.2",
        None,
    ]
    for key in proxied:
        assert key == ""
        doors.leave(key)
    assert doors.enter(None) == ""
