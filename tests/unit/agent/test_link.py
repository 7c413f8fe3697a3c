"""The always-open connection on the wire, and what the broker's statuses mean."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.broker_client import BrokerClient, SessionTerms
from agent.clock import BootClock
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.link import Link
from agent.model import Key

DEADLINE = 60.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"


class Said:
    """Stands for Orders: notes what it is told."""

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.changed = threading.Condition()

    def _note(self, *order: Any) -> None:
        with self.changed:
            self.orders.append(order)
            self.changed.notify_all()

    def cancel(self, key: Key) -> None:
        self._note("cancel", key)

    def lost(self, key: Key, reason: str) -> None:
        self._note("lost", key)

    def drain(self, wanted: bool) -> None:
        self._note("drain", wanted)

    def wait(self, count: int) -> list[Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.orders) >= count, DEADLINE), self.orders
            return self.orders


@pytest.fixture
def answering() -> Iterator[Callable[[list[bytes]], str]]:
    """Starts a server whose n-th connection is answered with the n-th bytes and closed; the last one stays open."""
    listeners: list[socket.socket] = []
    kept: list[socket.socket] = []

    def start(answers: list[bytes]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            for number, answer in enumerate(answers):
                try:
                    connection, _ = listener.accept()
                    kept.append(connection)  # closed at the end at latest, whatever the peer does
                    connection.recv(65536)
                    connection.sendall(answer)
                except OSError:
                    return
                if number < len(answers) - 1:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for one in listeners + kept:
        one.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def keep_open(url: str, said: Said) -> tuple[Session, Link, list[str], threading.Thread]:
    session = Session(SessionTerms("n", "s", None, 60, 20, BootClock().now()), BootClock())
    reopened: list[str] = []
    link = Link(
        session,
        broker=BrokerClient(url, BootClock()),
        orders=said,  # type: ignore[arg-type]
        live=said,  # type: ignore[arg-type]
        on_broken=lambda: None,
        on_reopened=lambda: reopened.append("again"),
        retry_cap=0.1,
    )
    thread = threading.Thread(target=link.run, daemon=True)
    thread.start()
    return session, link, reopened, thread


CANCEL = line(type="cancel", job_id="a", fence=3)
EXPECTED = ("cancel", Key("a", 3))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CHUNKED + chunk(CANCEL), id="a chunk a line"),
        pytest.param(PLAIN + CANCEL, id="not chunked"),
        pytest.param(CHUNKED + chunk(CANCEL[:5]) + chunk(CANCEL[5:]), id="a line in two chunks"),
        pytest.param(CHUNKED + chunk(line(type="ping") + CANCEL), id="two lines in a chunk"),
        pytest.param(CHUNKED + chunk(b'{broken\n[1]\n"x"\n\n' + line(type="new") + CANCEL), id="lines nobody knows"),
        pytest.param(CHUNKED + chunk(line(type="cancel", job_id=5) + CANCEL), id="a line without a key"),
    ],
)
def test_orders_come_through(answering: Callable[[list[bytes]], str], answer: bytes) -> None:
    said = Said()
    session, link, _, thread = keep_open(answering([answer]), said)
    assert said.wait(1) == [EXPECTED]
    session.end("test")
    link.close()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "close() ends it from outside"


def test_every_kind_of_order(answering: Callable[[list[bytes]], str]) -> None:
    lines = [line(type="lost", job_id="b", fence=1), line(type="drain"), line(type="resume")]
    said = Said()
    session, link, _, _ = keep_open(answering([CHUNKED + chunk(b"".join(lines))]), said)
    assert said.wait(3) == [("lost", Key("b", 1)), ("drain", True), ("drain", False)]
    session.end("test")
    link.close()


@pytest.mark.parametrize(
    "first",
    [
        CHUNKED + chunk(line(type="hello")),
        CHUNKED + chunk(line(type="hello")) + b"nonsense",
        CHUNKED + chunk(line(type="hello")) + b"0\r\n\r\n",
        b"",
        b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_broken_link_is_opened_again(answering: Callable[[list[bytes]], str], first: bytes) -> None:
    said = Said()
    session, link, reopened, _ = keep_open(answering([first, CHUNKED + chunk(line(type="hello") + CANCEL)]), said)
    said.wait(1)
    assert reopened == (["again"] if b"hello" in first else [])
    session.end("test")
    link.close()


def test_ended_session_ends_the_link(answering: Callable[[list[bytes]], str]) -> None:
    body = b'{"error":"x","reason":"session_ended"}'
    answer = b"HTTP/1.1 409 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    session, _, _, thread = keep_open(answering([answer]), Said())
    assert session.over.wait(DEADLINE)
    assert session.reason == "session_ended"
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, '{"error":"x","reason":"unknown_node"}', SessionOverError),
        (404, '{"error":"Node not found"}', SessionOverError),
        (409, '{"error":"x","reason":"session_ended"}', SessionOverError),
        (503, '{"error":"x","reason":"overloaded"}', BrokerAwayError),
        (500, "<html>", BrokerAwayError),
        (502, "", BrokerAwayError),
        (429, "{}", BrokerAwayError),
        (200, "<html>a login page</html>", BrokerAwayError),
        (422, '{"error":"x"}', BrokerRefusedError),
        (403, '{"error":"x"}', BrokerRefusedError),
        (404, "<html>of a proxy</html>", BrokerAwayError),
        (403, "{}", BrokerAwayError),
        (307, "", BrokerAwayError),
        (520, "<html>", BrokerAwayError),
    ],
)
def test_statuses(answering: Callable[[list[bytes]], str], status: int, body: str, expected: type[Exception]) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    client = BrokerClient(answering([answer]), BootClock())
    with pytest.raises(expected):
        client.heartbeat({"node_id": "n"}, read_timeout=DEADLINE)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, BrokerRefusedError), (405, BrokerRefusedError), (302, BrokerAwayError), (403, BrokerAwayError)],
)
def test_only_a_missing_call_tells_an_old_broker(
    answering: Callable[[list[bytes]], str], status: int, expected: type[Exception]
) -> None:
    """Without a link for half a minute for the sake of one redirect, a killed node would be noticed late."""
    client = BrokerClient(answering([f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()]), BootClock())
    with pytest.raises(expected):
        client.open_link({"node_id": "n"})


def test_registration_without_a_node_id_is_no_broker(answering: Callable[[list[bytes]], str]) -> None:
    client = BrokerClient(answering([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]), BootClock())
    with pytest.raises(BrokerAwayError, match="is this a broker"):
        client.register({})


def test_predecessors_registration_is_enough(answering: Callable[[list[bytes]], str]) -> None:
    body = b'{"node_id":"n1"}'
    client = BrokerClient(answering([b"HTTP/1.1 201 OK\r\nContent-Length: 16\r\n\r\n" + body]), BootClock())
    terms = client.register({})
    assert (terms.node_id, terms.session, terms.lease_seconds, terms.heartbeat_seconds) == ("n1", None, 60.0, 20.0)
    assert Session(terms, BootClock()).who == {"node_id": "n1"}
