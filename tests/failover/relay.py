"""A TCP relay before the broker that can hold back one direction, as a one-way partition does.

What is held back is delivered later, whole and in order, as TCP does when the way is free again. Runs in a container of
its own (`python -c`, the standard library only): SIGUSR1 holds answers back, SIGUSR2 requests, SIGHUP neither.
"""

from __future__ import annotations

import signal
import socket
import threading

PORT = 8000


def main() -> None:
    """Relay until killed."""
    requests, answers = threading.Event(), threading.Event()

    def let_pass(*_: object) -> None:
        requests.set()
        answers.set()

    let_pass()
    signal.signal(signal.SIGUSR1, lambda *_: answers.clear())
    signal.signal(signal.SIGUSR2, lambda *_: requests.clear())
    signal.signal(signal.SIGHUP, let_pass)
    with socket.create_server(("", PORT), backlog=128) as server:
        while True:
            near, _ = server.accept()
            threading.Thread(target=_serve, args=(near, requests, answers), daemon=True).start()


def _serve(near: socket.socket, requests: threading.Event, answers: threading.Event) -> None:
    with near:
        try:
            far = socket.create_connection(("broker", PORT), timeout=5)
        except OSError:
            return
        with far:
            far.settimeout(None)
            back = threading.Thread(target=_pump, args=(far, near, answers), daemon=True)
            back.start()
            _pump(near, far, requests)
            back.join()


def _pump(source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
    try:
        while data := source.recv(65536):
            gate.wait()
            sink.sendall(data)
    except OSError:
        pass
    # Nobody hears of a close either while this direction is held back.
    gate.wait()
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


if __name__ == "__main__":
    main()
