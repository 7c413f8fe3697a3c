"""Uploads and manifests that no client library would send."""

import json
import re
import time
from collections.abc import Generator, Iterator
from typing import Any

from hostile.client import Target, multipart
from hostile.http_attacks import Registry, connect, exchange, is_client_error, post, small_job, status_of

ATTACKS = Registry()

SCRIPT = {"main.sh": b"echo ran"}
HUGE = 10**9
#: Values that no field of the manifest takes.
WRONG: dict[str, tuple[Any, ...]] = {
    "timeout": ("10", -1, 0, HUGE, True, [], {}, float("nan"), float("inf"), -0.0),
    "memory_mb": ("512", -5, 0, HUGE, False, [1], {"a": 1}, float("nan"), 10**30),
    "cpu_seconds": ("1", -1, 0, HUGE, True, [], float("-inf")),
    "processes": ("1", -1, 0, HUGE, 1.5, True),
    "open_files": ("1", -1, 0, HUGE),
    "disk_mb": ("1", -1, 0, HUGE),
    "output_mb": ("1", -1, 0, HUGE),
    "inodes": ("1", -1, 0, HUGE),
    "args": ("text", [1], ["a\0b"], [["x"]], [None], {"0": "x"}, 7, ["x"] * 100_000, ["x" * 3_000_000]),
    "env": ("A=B", ["A=B"], {"A": 1}, {"A": None}, {"A=B": "x"}, {"": "x"}, {"A\0": "x"}, {"A": "x\0y"}, {"A": "x" * 3_000_000},
            {f"N{i}": "x" * 100 for i in range(50_000)}, {"A\nB": "x"}),
    "outputs": ("*.txt", [1], [["x"]], {"a": "b"}, ["x\0"], ["x"] * 100_000, ["x" * 100_000]),
    "entrypoint": ("", "/bin/sh", "../main.sh", "missing.sh", ".", "..", 7, ["main.sh"], "main.sh\0", "x" * 100_000, "main.sh/", "-c"),
    "interpreter": ("/bin/sh", "sh -c id", "../bash", "cobol", 5, ["bash"], "bash\0", "bash;id", "bash\n", "x" * 10_000, "env"),
    "stdin": (5, ["x"], {"a": "b"}),
    "environment": ("no-such-template", 5, "../../etc"),
    "gpu": ({"required": True}, "yes", [1]),
}  # fmt: skip

#: Manifests that are wrong as a whole.
BROKEN = {
    "null": b"null",
    "list": b"[]",
    "number": b"5",
    "text": b'"x"',
    "cut off": b'{"entrypoint": "main.sh"',
    "two objects": b"{}{}",
    "not UTF-8": b'{"entrypoint": "\xff\xfe"}',
    "UTF-16": '{"entrypoint": "main.sh"}'.encode("utf-16"),
    "comment": b'{} // "x"',
    "deep list": b"[" * 100_000,
    "deep value": b'{"args": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "endless number": b'{"timeout": ' + b"9" * 20_000 + b"}",
    "huge exponent": b'{"timeout": 1e400}',
    "lone surrogate": b'{"interpreter": "bash", "args": ["\\ud800"]}',
    "NUL in a key": b'{"interpreter": "bash", "env": {"A\\u0000B": "x"}}',
}

#: Bodies that are no multipart, or a strange one: label, content type, body.
BOUNDARY = "b"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="main.sh"\r\n\r\necho\r\n'
MANIFEST = b'--b\r\nContent-Disposition: form-data; name="manifest"\r\n\r\n{"interpreter":"bash"}\r\n'
END = b"--b--\r\n"
BODIES: tuple[tuple[str, str, bytes], ...] = (
    ("no body", "multipart/form-data; boundary=b", b""),
    ("no boundary", "multipart/form-data", PART + END),
    ("empty boundary", "multipart/form-data; boundary=", PART + END),
    ("other boundary", "multipart/form-data; boundary=c", PART + END),
    ("long boundary", "multipart/form-data; boundary=" + "b" * 20_000, b""),
    ("boundary that is no text", "multipart/form-data; boundary=\xff\xfe", PART + END),
    ("JSON", "application/json", b"{}"),
    ("form", "application/x-www-form-urlencoded", b"files=x&manifest=%7B%7D"),
    ("no type", "", PART + END),
    ("not closed", "multipart/form-data; boundary=b", PART[:-6]),
    ("nothing between", "multipart/form-data; boundary=b", END),
    ("manifest alone", "multipart/form-data; boundary=b", MANIFEST + END),
    ("part without a name", "multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n" + END),
    ("file without a file name", "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n' + END),
    ("empty file name", "multipart/form-data; boundary=b", PART.replace(b"main.sh", b"") + END),
    ("file name with NUL", "multipart/form-data; boundary=b", PART.replace(b"main.sh", b"ma\0in.sh") + END),
    ("part header of a megabyte", "multipart/form-data; boundary=b", b"--b\r\nX-Long: " + b"x" * (1 << 20) + b"\r\n" + PART[5:] + END),
    ("many part headers", "multipart/form-data; boundary=b", b"--b\r\n" + b"X: y\r\n" * 50_000 + PART[5:] + END),
    ("no line ends", "multipart/form-data; boundary=b", b"--b" + b"x" * 100_000),
    ("many empty parts", "multipart/form-data; boundary=b", b"--b\r\n\r\n" * 20_000 + END),
    ("many files", "multipart/form-data; boundary=b", PART * 20_000 + END),
    ("many manifests", "multipart/form-data; boundary=b", PART + MANIFEST * 3 + END),
    ("many fields", "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n' * 20_000 + END),
)  # fmt: skip


@ATTACKS.attack("values of the wrong type or far out of range in every field")
def manifest_values(target: Target) -> Iterator[str]:
    for name, values in WRONG.items():
        for value in values:
            manifest = {"interpreter": "bash", "entrypoint": "main.sh", name: value}
            answer = target.submit(SCRIPT, json.dumps(manifest).encode())
            yield from is_client_error(f"{name}={json.dumps(value)[:60]}", answer)


@ATTACKS.attack("a value above the operator's maximum is refused with the maximum, not lowered in silence")
def limits_named(target: Target) -> Iterator[str]:
    limits = target.description.get("limits", {})
    for name in ("timeout", "memory_mb", "cpu_seconds"):
        answer = target.submit(SCRIPT, {"interpreter": "bash", "entrypoint": "main.sh", name: HUGE})
        yield from is_client_error(f"{name}={HUGE}", answer)
        most = limits.get(name, {}).get("max") if isinstance(limits, dict) else None
        text = answer.text.replace(",", "")
        if name not in text or not re.search(r"\d", text) or (most and f"{most:g}" not in text):
            yield f"{name}: the refusal does not name the field and its maximum {most}: {answer.text[:200]}"


@ATTACKS.attack("manifests that are no object, no JSON or no text")
def manifest_broken(target: Target) -> Iterator[str]:
    for label, manifest in BROKEN.items():
        yield from is_client_error(label, target.submit(SCRIPT, manifest))


@ATTACKS.attack("bodies that are no multipart, or a monstrous one", broker=True)
def multipart_broken(target: Target) -> Iterator[str]:
    for label, content_type, body in BODIES:
        headers = {"Content-Type": content_type.encode("latin-1")}
        answer = target.call("POST", "/submit", data=body, headers=headers)
        if not 400 <= answer.status_code < 500:
            yield f"{label}: answered {answer.status_code}: {answer.text[:200]}"
        elif "Traceback" in answer.text:
            yield f"{label}: shows the service's insides: {answer.text[:200]}"


@ATTACKS.attack("ten gigabytes announced: refused before they are sent", broker=True)
def body_announced(target: Target) -> Iterator[str]:
    started = time.monotonic()
    reply = exchange(target, post("/submit", PART, "multipart/form-data; boundary=b", length=10 << 30), seconds=10)
    took = time.monotonic() - started
    if status_of(reply) not in (413, 400) or took > 5:
        yield f"answered {status_of(reply)} after {took:.1f} s instead of 413 at once"


@ATTACKS.attack("a body without length and without end: cut off at the limit", broker=True)
def body_endless(target: Target) -> Iterator[str]:
    head = (
        b"POST /submit HTTP/1.1\r\nHost: target\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    start = PART[: PART.index(b"echo")]
    sent = 0
    with connect(target, 10) as connection:
        connection.sendall(head + b"%x\r\n" % len(start) + start + b"\r\n")
        try:
            while sent < 512 << 20:
                connection.sendall(chunk)
                sent += 1 << 20
        except OSError:
            return
    yield f"took {sent >> 20} MB without an end"


@ATTACKS.attack("connections that send their upload a byte at a time")
def uploads_slow(target: Target) -> Iterator[str]:
    yield from _slow_uploads(target, connections=200, seconds=5)


@ATTACKS.attack("the same for longer than any upload takes: the service gives up on them", slow=True)
def uploads_slow_for_minutes(target: Target) -> Iterator[str]:
    still_open = yield from _slow_uploads(target, connections=50, seconds=150)
    if still_open:
        yield f"{still_open} connections still held after 150 s at two bytes a second"


def _slow_uploads(target: Target, *, connections: int, seconds: float) -> Generator[str, None, int]:
    body, content_type = small_job()
    request = post("/submit", b"", content_type, length=len(body) * 100)
    held = [connect(target) for _ in range(connections)]
    try:
        for connection in held:
            connection.sendall(request + body[:50])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and held:
            for connection in list(held):
                try:
                    connection.sendall(b"x")
                except OSError:
                    held.remove(connection)
                    connection.close()
            answer = target.get("/", timeout=5)
            if answer.status_code != 200:
                yield f"GET / answered {answer.status_code} meanwhile"
            time.sleep(0.5)  # the attacker's pace
        return len(held)
    finally:
        for connection in held:
            connection.close()


@ATTACKS.attack("a thousand connections that say nothing", broker=True)
def connections_idle(target: Target) -> Iterator[str]:
    held = []
    try:
        for _ in range(1000):
            held.append(connect(target))
        answer = target.get("/health", timeout=5)
        if answer.status_code != 200:
            yield f"/health answered {answer.status_code} beside {len(held)} idle connections"
    finally:
        for connection in held:
            connection.close()


@ATTACKS.attack("uploads broken off in the middle, again and again: nothing of them may stay")
def uploads_broken_off(target: Target) -> Iterator[str]:
    body, content_type = multipart({"main.sh": b"x" * 3_000_000}, {"interpreter": "bash"})
    for size in (100, 1000, 70_000, 2_000_000) * 10:
        with connect(target) as connection:
            connection.sendall(post("/submit", body[:size], content_type, length=len(body)))
    if target.get("/health").status_code != 200:
        yield "/health failed afterwards"


@ATTACKS.attack("a program of 8 MiB of text, and input larger than any pipe")
def large_but_legal(target: Target) -> Iterator[str]:
    program = b"cat | wc -c\nexit 0\n" + b"# padding\n" * 800_000
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "stdin": "y" * 4_000_000, "timeout": 20}
    answer = target.accepted({"main.sh": program}, manifest)
    if answer.status_code in range(400, 500):
        return
    outcome = target.outcome(answer.json()["job_id"], seconds=60)
    if outcome.stdout.strip() != "4000000":
        yield f"{outcome.verdict}: {outcome.stdout[:100]!r} {outcome.stderr[:200]!r} {outcome.message}"


@ATTACKS.attack("large uploads that all have to wait: what does not fit is refused, nothing is lost")
def uploads_queued(target: Target) -> Iterator[str]:
    body, content_type = multipart(
        {"main.sh": b"echo fine", "data.bin": bytes(12 << 20)},
        {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 20},
    )
    accepted = []
    for _ in range(60):
        answer = target.call("POST", "/submit", data=body, headers={"Content-Type": content_type})
        if answer.status_code == 200:
            accepted.append(answer.json()["job_id"])
        elif answer.status_code not in (413, 429, 503):
            yield f"answered {answer.status_code}: {answer.text[:200]}"
    for job_id in accepted:
        outcome = target.outcome(job_id, seconds=90)
        if outcome.stdout != "fine\n":
            yield f"an accepted job came to {outcome.verdict}: {outcome.message or outcome.stderr[:200]}"
        target.forget(job_id)


@ATTACKS.attack("results that nobody fetches: the newest are there, the oldest make room")
def results_unfetched(target: Target) -> Iterator[str]:
    program = b"head -c 3000000 /dev/urandom | tee kept.bin | base64 -w0; echo; echo end"
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 20}
    job_id = ""
    for _ in range(80):
        job_id = target.accepted({"main.sh": program}, manifest).json()["job_id"]
        outcome = target.outcome(job_id, seconds=60)
        if outcome.verdict != "completed" or not outcome.stdout.endswith("end\n"):
            yield f"a job in between came to {outcome.verdict}: {outcome.stdout[-50:]!r} {outcome.message}"
    files, _ = target.download(job_id)
    if [len(content) for content in files.values()] != [3_000_000]:
        yield f"the newest job's files are not there: { ({name: len(content) for name, content in files.items()}) }"


@ATTACKS.attack("programs whose file name looks like an option, a path or a command")
def entrypoints_odd(target: Target) -> Iterator[str]:
    names = (
        "-c",
        "--version",
        "-e",
        "--init-file=x",
        "a b.sh",
        "$(id).sh",
        "d/e/main.sh",
        "ü.sh",
        "'.sh",
        "%s.sh",
        "main.sh.",
        "-",
    )
    for interpreter, program in (
        ("bash", b"echo ran"),
        ("python3", b"print('ran')"),
        ("node", b"console.log('ran')"),
        ("ruby", b"puts 'ran'"),
    ):
        for name in names:
            answer = target.accepted({name: program}, {"interpreter": interpreter, "entrypoint": name, "timeout": 20})
            if answer.status_code in range(400, 500):
                continue
            outcome = target.outcome(answer.json()["job_id"], seconds=60)
            if outcome.stdout != "ran\n":
                yield f"{interpreter} {name!r}: {outcome.verdict} {outcome.stdout[:60]!r} {outcome.stderr[:100]!r}"
            target.forget(outcome.job_id)
