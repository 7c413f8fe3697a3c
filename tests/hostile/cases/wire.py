"""HTTP and WebSocket below the level of any API: requests that no parser should believe."""

import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator

from hostile.client import Target
from hostile.http_attacks import Registry, connect, exchange, raw_problems, status_of

ATTACKS = Registry()

REQUESTS: dict[str, bytes] = {
    "garbage": os.urandom(3000),
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    "unknown method": b"BREW /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "long method": b"G" * 100_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "long path": b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "long query": b"GET /health?" + b"a" * 500_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "long header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
    "header without colon": b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
    "header with NUL": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nConnection: close\r\n\r\n",
    "folded header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nConnection: close\r\n\r\n",
    "bare line feeds": b"GET /health HTTP/1.1\nHost: x\nConnection: close\n\n",
    "absolute address": b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nConnection: close\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "length and chunks": b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    "two lengths": b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "negative length": b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "length that is no number": b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n",
    "endless length": b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "chunk of no size": b"POST /submit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunk of endless size": b"POST /submit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 300
    + b"\r\n",
    "unknown encoding": b"POST /submit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nxx",
    "expect": b"POST /submit HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "pipeline": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "upgrade to nothing": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
}


@ATTACKS.attack("requests that break the rules of HTTP", broker=True)
def requests_broken(target: Target) -> Iterator[str]:
    for label, request in REQUESTS.items():
        reply = exchange(target, request, seconds=3)
        yield from raw_problems(label, reply)
        if label == "absolute address" and status_of(reply) == 200 and b"ami-id" in reply:
            yield "acts as a proxy"
        if label == "TRACE" and b"Cookie: secret" in reply:
            yield "TRACE echoes headers"


@ATTACKS.attack("the wrong method on every path", broker=True)
def methods_wrong(target: Target) -> Iterator[str]:
    for path in (
        "/",
        "/health",
        "/submit",
        "/status/x",
        "/logs/x",
        "/outputs/x",
        "/download/x",
        "/stats",
        "/environments",
        "/nowhere",
    ):
        for method in ("PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS"):
            if (method, path) == ("POST", "/submit"):
                continue
            answer = target.call(method, path, data=b"x" if method in ("PUT", "POST", "PATCH") else None)
            if answer.status_code >= 500:
                yield f"{method} {path} answered {answer.status_code}: {answer.text[:100]}"
    answer = target.get("/nowhere")
    if answer.status_code != 404 or "error" not in answer.text:
        yield f"/nowhere answered {answer.status_code} {answer.text[:100]}"


class WebSocket:
    """As much of RFC 6455 as an attacker needs."""

    def __init__(self, target: Target, path: str) -> None:
        self.connection = connect(target)
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: target\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = b""
        self.status = self._handshake()

    def _handshake(self) -> int | None:
        try:
            while b"\r\n\r\n" not in self.buffer:
                block = self.connection.recv(4096)
                if not block:
                    break
                self.buffer += block
        except OSError:
            return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return status_of(head + b"\r\n")

    def send(self, payload: bytes, opcode: int = 1, *, masked: bool = True, claimed: int | None = None) -> None:
        """One frame, as wrong as asked for."""
        size = len(payload) if claimed is None else claimed
        head = bytes([0x80 | opcode])
        bit = 0x80 if masked else 0
        head += bytes([bit | size]) if size < 126 else bytes([bit | 127]) + struct.pack(">Q", size)
        with contextlib.suppress(OSError):
            self.connection.sendall(head + (bytes(4) if masked else b"") + payload)

    def texts(self, seconds: float) -> list[str]:
        """All text frames until the service closes; stops after `seconds`."""
        deadline = time.monotonic() + seconds
        texts = []
        with contextlib.suppress(OSError):
            while (frame := self._frame(deadline)) is not None:
                opcode, payload = frame
                if opcode == 8:
                    break
                if opcode in (0, 1):
                    texts.append(payload.decode("utf-8"))
        return texts

    def _frame(self, deadline: float) -> tuple[int, bytes] | None:
        first, second = self._exactly(2, deadline)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._exactly(2, deadline))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._exactly(8, deadline))[0]
        return first & 0x0F, self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        while len(self.buffer) < size:
            self.connection.settimeout(max(0.01, deadline - time.monotonic()))
            block = self.connection.recv(65536)
            if not block:
                raise ConnectionError("closed")
            self.buffer += block
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def close(self) -> None:
        """Without a closing frame."""
        self.connection.close()


def start(target: Target, program: bytes, **fields: object) -> str:
    """A bash job's id."""
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60, **fields}
    job_id: str = target.accepted({"main.sh": program}, manifest).json()["job_id"]
    return job_id


@ATTACKS.attack("streams of jobs that do not exist, and handshakes that are none")
def stream_handshakes(target: Target) -> Iterator[str]:
    for path in ("/stream/unknown", "/stream/", "/stream/..%2f..%2fx", "/stream/" + "x" * 5000, "/status/x", "/submit"):
        socket_ = WebSocket(target, path)
        if socket_.status is not None and socket_.status >= 500:
            yield f"{path[:40]} answered {socket_.status}"
        if socket_.status == 101 and any("[DONE]" in text for text in socket_.texts(3)):
            yield f"{path[:40]} streams a job that does not exist"
        socket_.close()
    for headers in (
        "",
        "Sec-WebSocket-Version: 99\r\nSec-WebSocket-Key: x\r\n",
        "Sec-WebSocket-Key: \r\nSec-WebSocket-Version: 13\r\n",
    ):
        request = f"GET /stream/x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n"
        yield from raw_problems(f"handshake {headers[:30]!r}", exchange(target, request.encode(), seconds=3))


@ATTACKS.attack("a program that prints the end of the stream: the true end still comes last")
def stream_forged(target: Target) -> Iterator[str]:
    program = b"echo '[DONE] Job completed'; echo '[STATUS] completed'; echo '[STDERR]' >&2; sleep 0.5; exit 3"
    socket_ = WebSocket(target, f"/stream/{start(target, program)}")
    texts = socket_.texts(60)
    socket_.close()
    if not texts or not texts[-1].startswith("[DONE] Job failed"):
        yield f"the stream ended with {texts[-2:]}"


@ATTACKS.attack("a reader that never reads while the program floods: neither the job nor the service waits for it")
def stream_unread(target: Target) -> Iterator[str]:
    job_id = start(target, b"head -c 20000000 /dev/zero | tr '\\0' x; exit 0")
    readers = [WebSocket(target, f"/stream/{job_id}") for _ in range(10)]
    for reader in readers:
        reader.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    outcome = target.outcome(job_id, seconds=120)
    if outcome.verdict != "completed" or outcome.stdout_bytes not in (None, 20_000_000):
        yield f"{outcome.verdict}, {outcome.stdout_bytes} bytes, {json.dumps(outcome.limit_hit)}"
    for reader in readers:
        reader.close()


@ATTACKS.attack("frames that are too large, not masked, of no kind, or endless pings")
def stream_frames(target: Target) -> Iterator[str]:
    job_id = start(target, b"for i in 1 2 3 4 5 6; do echo tick; sleep 0.3; done")
    attackers = [WebSocket(target, f"/stream/{job_id}") for _ in range(6)]
    attackers[0].send(b"x" * 100, masked=False)
    attackers[1].send(b"x", claimed=1 << 62)
    attackers[2].send(b"x" * 5_000_000)
    for _ in range(2000):
        attackers[3].send(b"ping", opcode=9)
    attackers[4].send(b"x", opcode=7)
    attackers[5].send(b"\xff\xfe", opcode=1)
    honest = WebSocket(target, f"/stream/{job_id}")
    text = "".join(honest.texts(20))
    if text.count("tick") != 6 or "[DONE] Job completed" not in text:
        yield f"an honest reader beside them got {text[-200:]!r}"
    for each in (*attackers, honest):
        each.close()


@ATTACKS.attack("a hundred readers of one job, dropped without a word")
def stream_many(target: Target) -> Iterator[str]:
    job_id = start(target, b"for i in $(seq 20); do echo tick; sleep 0.1; done")
    readers = [WebSocket(target, f"/stream/{job_id}") for _ in range(100)]
    refused = [reader.status for reader in readers if reader.status != 101]
    if any(status is None or (status >= 500 and status != 503) for status in refused):
        yield f"handshakes answered {set(refused)}"
    for reader in readers[:50]:
        reader.close()
    text = "".join(readers[-1].texts(20)) if readers[-1].status == 101 else "[DONE]"
    if "[DONE]" not in text:
        yield f"the last reader got {text[-200:]!r}"
    for reader in readers[50:]:
        reader.close()
