"""Bounded HTTP calls against servers that misbehave on the wire."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from agent.errors import AnswerLostError, AnswerTimeoutError, BadAnswerError, NotReachedError
from agent.transport import Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that hands each connection to a function."""
    listeners: list[socket.socket] = []

    def start(handle: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    handle(connection)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


def request(connection: socket.socket) -> bytes:
    """Everything of the one write that a request is."""
    data = connection.recv(1 << 20)
    if not data:
        raise OSError("closed")
    return data


def test_request_is_one_write_with_exact_header_names(serve: Serve) -> None:
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(request(connection))
        connection.sendall(OK)

    Transport(serve(handle)).call("POST", "/x", b"body", content_type="text/x", read_timeout=30)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert body == b"body"
    assert b"POST /x HTTP/1.1" in head
    assert b"\r\nContent-Type: text/x" in head
    assert b"\r\nContent-Length: 4" in head


def test_connection_is_kept_or_not(serve: Serve) -> None:
    connections: list[int] = []

    def handle(connection: socket.socket) -> None:
        connections.append(1)
        while True:
            asked_to_close = b"Connection: close" in request(connection)
            connection.sendall(OK)
            if asked_to_close:
                return

    url = serve(handle)
    kept, closing = Transport(url), Transport(url, keep_alive=False)
    for _ in range(3):
        kept.call("GET", "/", read_timeout=30)
    assert len(connections) == 1
    for _ in range(3):
        closing.call("GET", "/", read_timeout=30)
    assert len(connections) == 4


def test_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotReachedError):
        Transport(f"http://127.0.0.1:{port}").call("POST", "/", b"x", read_timeout=30)
    with pytest.raises(NotReachedError):
        Transport("http://no-such-host.invalid").call("POST", "/", b"x", read_timeout=30)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"not HTTP at all\r\n\r\n"],
)
def test_broken_answer_is_lost(serve: Serve, answer: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(answer)

    with pytest.raises(AnswerLostError):
        Transport(serve(handle)).call("GET", "/", read_timeout=30)


def test_cut_head_is_a_bad_answer(serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")

    with pytest.raises(BadAnswerError):
        Transport(serve(handle)).call("GET", "/", read_timeout=30).json()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"])
def test_silence_is_a_timeout(serve: Serve, start: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(start)
        connection.recv(1)

    began = time.monotonic()
    with pytest.raises(AnswerTimeoutError):
        Transport(serve(handle)).call("GET", "/", read_timeout=0.3)
    assert time.monotonic() - began < 20, "unbounded, it would not come back at all"


def test_dripping_answer_is_a_timeout(serve: Serve) -> None:
    pace = threading.Event()

    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not pace.wait(0.05):
            connection.sendall(b"x")

    with pytest.raises(AnswerTimeoutError):
        Transport(serve(handle)).call("GET", "/", read_timeout=0.3)
    pace.set()


def test_huge_answer_is_not_read(serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with pytest.raises(BadAnswerError, match="larger than 1000"):
        Transport(serve(handle)).call("GET", "/", read_timeout=30, limit=1000)


def test_abort_ends_a_call_in_another_thread(serve: Serve) -> None:
    arrived = threading.Event()

    def handle(connection: socket.socket) -> None:
        request(connection)
        arrived.set()
        connection.recv(1)

    transport = Transport(serve(handle))
    raised: list[Exception] = []

    def wait() -> None:
        try:
            transport.call("POST", "/claim", b"{}", read_timeout=300)
        except AnswerLostError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert arrived.wait(60)
    transport.abort()
    thread.join(60)
    assert len(raised) == 1


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff"])
def test_answer_that_is_no_object(serve: Serve, body: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    answer = Transport(serve(handle)).call("GET", "/", read_timeout=30)
    with pytest.raises(BadAnswerError):
        answer.json()


def test_redirects_are_not_followed(serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    assert Transport(serve(handle)).call("POST", "/", b"secret", read_timeout=30).status == 307


def test_answer_to_another_call_is_none_and_ends_its_connection(serve: Serve) -> None:
    """A proxy that answers one call twice leaves every later answer of the connection one call late."""
    connections: list[int] = []

    def handle(connection: socket.socket) -> None:
        connections.append(len(connections))
        for said in (b"one", b"one", b"three") if len(connections) == 1 else (b"some-proxys-own",):
            request(connection)
            connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nX-Request-Id: " + said + b"\r\n\r\n"))

    transport = Transport(serve(handle))
    named = [{"X-Request-Id": name} for name in ("one", "two", "three")]
    assert transport.call("POST", "/", headers=named[0], read_timeout=2).status == 200
    with pytest.raises(AnswerLostError, match="another call"):
        transport.call("POST", "/", headers=named[1], read_timeout=2)
    assert transport.call("POST", "/", headers=named[2], read_timeout=2).status == 200
    assert connections == [0, 1]


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7.0), (b"900", 60.0), (b"soon", None)])
def test_retry_after(serve: Serve, header: bytes, seconds: float | None) -> None:
    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 503 X\r\nRetry-After: " + header + b"\r\nContent-Length: 0\r\n\r\n")

    assert Transport(serve(handle)).call("GET", "/", read_timeout=30).retry_after == seconds


@pytest.mark.parametrize(
    ("direct", "spared", "through_the_proxy"),
    [(False, "", True), (False, "127.0.0.1", False), (True, "", False)],
)
def test_a_proxy_of_the_environment_gets_only_what_is_meant_for_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, direct: bool, spared: str, through_the_proxy: bool
) -> None:
    """`direct` is how the sandrun is called: it is the node's own, whatever the environment says."""
    asked: list[str] = []

    def server(name: str) -> Callable[[socket.socket], None]:
        def handle(connection: socket.socket) -> None:
            request(connection)
            asked.append(name)
            connection.sendall(OK)

        return handle

    monkeypatch.setenv("HTTP_PROXY", serve(server("proxy")))
    monkeypatch.setenv("NO_PROXY", spared)
    url = serve(server("itself"))
    assert Transport(url, direct=direct).call("GET", "/", read_timeout=30).status == 200
    assert asked == ["proxy" if through_the_proxy else "itself"]


def test_a_url_may_be_an_ipv6_address() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                request(connection)
                connection.sendall(OK)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://[::1]:{listener.getsockname()[1]}"
        assert Transport(url).call("GET", "/", read_timeout=30).status == 200


@pytest.mark.parametrize("dripped", [b"x", b"X: y\r\n"])
def test_dripping_head_is_a_timeout(serve: Serve, dripped: bytes) -> None:
    """Each byte came within the time of a read: a beat could be held up for hours."""
    pace = threading.Event()

    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(90):
            if pace.wait(0.05):
                return
            connection.sendall(dripped)
        connection.sendall(b"\r\nContent-Length: 2\r\n\r\n{}")

    with pytest.raises(AnswerTimeoutError):
        Transport(serve(handle)).call("GET", "/", read_timeout=0.3)
    pace.set()


def test_slow_body_after_a_head_has_the_time_of_each_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the link, which is open for days."""

    def handle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        days_later.wait(60)
        connection.sendall(b"x" * 8)

    days_later = threading.Event()
    with Transport(serve(handle)).open("POST", "/link", b"{}", read_timeout=30) as response:
        monkeypatch.setattr("agent.heads.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 5 * 86_400))
        days_later.set()
        assert response.raw.read() == b"x" * 8
