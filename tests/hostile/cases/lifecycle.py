"""Jobs as objects of the API: floods of them, ids that are none, cancelling at the wrong moment, waiting without end."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from hostile.client import Target, multipart
from hostile.http_attacks import Registry, connect, exchange, is_client_error, raw_problems, small_job, status_of

ATTACKS = Registry()

UNKNOWN = "0123456789abcdef0123456789abcdef"
STRANGE_IDS = (
    UNKNOWN, "0", "-1", "..", "%2e%2e", "%00", "a%00b", "%ff", "x" * 10_000, "' OR 1=1--", "{{7*7}}", "${jndi:x}", "<script>", "null",
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "日本", "\\", "*", ";", "a b", "%0d%0aX-Injected:%20yes",
)  # fmt: skip
PATHS = ("/status/{}", "/logs/{}", "/outputs/{}", "/download/{}", "/download/{}/file", "/results/{}")

#: Ways to write "out of the directory" in a URL.
ESCAPES = (
    "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd", "....//....//etc/passwd", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "..%5c..%5cetc%5cpasswd",
    "..\\..\\etc\\passwd", "good.txt/../../../../etc/passwd", "good.txt%00.html", "%00", "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "%e0%80%ae%e0%80%ae/etc/passwd", "./././../../etc/passwd", "~root/.bashrc", "file:///etc/passwd", "link.txt", "directory/passwd",
    "/proc/self/environ", "..;/..;/etc/passwd", "%u002e%u002e/etc/passwd", "?../../etc/passwd", "#/../../etc/passwd",
    "." * 4000, "a/" * 2000, "..", ".", "",
)  # fmt: skip

MAKES_LINKS = b"printf good > good.txt; ln -s /etc/passwd link.txt; ln -s /etc directory; ln -s / root"


@ATTACKS.attack("ids of no job on every call", broker=True)
def ids_unknown(target: Target) -> Iterator[str]:
    for path in PATHS[: 5 if not target.is_broker else 6]:
        for strange in STRANGE_IDS:
            request = f"GET {path.format(strange)} HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n"
            reply = exchange(target, request.encode())
            yield from raw_problems(f"{path} {strange[:40]}", reply)
            if status_of(reply) == 200:
                yield f"{path.format(strange)[:60]} answered 200: {reply[-100:]!r}"
            if b"\r\nX-Injected" in reply:
                yield f"{path}: a header was injected"
        yield from is_client_error(path, target.get(path.format(UNKNOWN)))
    answer = target.cancel(UNKNOWN)
    if answer.status_code != 404:
        yield f"cancelling no job answered {answer.status_code}"


@ATTACKS.attack("the files of the node through the download's path, in every spelling")
def download_paths(target: Target) -> Iterator[str]:
    answer = target.accepted({"main.sh": MAKES_LINKS}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    target.outcome(job_id, seconds=60)
    good = target.get(f"/download/{job_id}/good.txt")
    if good.content != b"good":
        yield f"the honest download answered {good.status_code} {good.content[:50]!r}"
    for escape in ESCAPES:
        request = f"GET /download/{job_id}/{escape} HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n".encode(
            "utf-8", "replace"
        )
        reply = exchange(target, request)
        yield from raw_problems(escape[:60], reply)
        if (
            status_of(reply) == 200
            and escape not in ("", ".", "?../../etc/passwd", "#/../../etc/passwd")
            and b"good" not in reply[-9:]
        ):
            yield f"{escape[:60]!r} answered 200: {reply[-100:]!r}"
        if b"root:" in reply or b"PATH=" in reply:
            yield f"{escape[:60]!r} gave a file of the node: {reply[-100:]!r}"


@ATTACKS.attack("ten times as many jobs as the queue takes: refused with a time to come back, the rest still run")
def queue_flooded(target: Target) -> Iterator[str]:
    yield from _flood(target, jobs=1500)


@ATTACKS.attack("ten thousand jobs", slow=True)
def queue_flooded_for_long(target: Target) -> Iterator[str]:
    yield from _flood(target, jobs=10_000)


def _flood(target: Target, *, jobs: int) -> Iterator[str]:
    body, content_type = small_job("sleep 0.05")
    problems: list[str] = []
    accepted: list[str] = []
    refused = 0
    lock = threading.Lock()

    def submit(count: int) -> None:
        nonlocal refused
        own = target.again()
        for _ in range(count):
            answer = own.call("POST", "/submit", data=body, headers={"Content-Type": content_type})
            with lock:
                if answer.status_code == 200:
                    accepted.append(answer.json()["job_id"])
                elif answer.status_code in (429, 503):
                    refused += 1
                    if not answer.headers.get("Retry-After", "").isdigit() or "error" not in answer.json():
                        problems.append(
                            f"refused without a time to come back: {dict(answer.headers)} {answer.text[:200]}"
                        )
                else:
                    problems.append(f"answered {answer.status_code}: {answer.text[:200]}")
        own.close()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(submit, jobs // 4) for _ in range(4)]:
            future.result()
    yield from sorted(set(problems))[:5]
    if not refused:
        yield f"all {len(accepted)} jobs accepted: the queue has no bound"
    for job_id in accepted[-10:]:
        outcome = target.outcome(job_id, seconds=120)
        if outcome.verdict != "completed":
            yield f"an accepted job ended with {outcome.verdict}: {outcome.message}"


@ATTACKS.attack("cancelling at every moment: before the start, at it, with stubborn children")
def cancel_races(target: Target) -> Iterator[str]:
    program = b"trap '' TERM INT HUP\nfor i in 1 2 3 4 5 6; do setsid sleep 200 & done; while :; do sleep 0.1; done"
    for delay in (0, 0, 0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4) * 2:
        answer = target.accepted({"main.sh": program}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 100})
        job_id = answer.json()["job_id"]
        time.sleep(delay)  # the moment under test
        started = time.monotonic()
        cancelled = target.cancel(job_id)
        if cancelled.status_code != 200:
            yield f"cancel after {delay} s answered {cancelled.status_code}: {cancelled.text[:100]}"
        outcome = target.outcome(job_id, seconds=60)
        took = time.monotonic() - started
        if outcome.verdict != "cancelled" or took > 15:
            yield f"cancelled after {delay} s: {outcome.verdict} {outcome.message} after {took:.1f} s"


@ATTACKS.attack("many cancels of one job at once, and of one that has ended: the verdict stays")
def cancel_repeated(target: Target) -> Iterator[str]:
    answer = target.accepted(
        {"main.sh": b"sleep 200"}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 200}
    )
    job_id = answer.json()["job_id"]
    with ThreadPoolExecutor(8) as pool:
        codes = {
            future.result().status_code for future in [pool.submit(target.again().cancel, job_id) for _ in range(16)]
        }
    if codes != {200}:
        yield f"sixteen cancels answered {codes}"
    if (verdict := target.outcome(job_id, seconds=90).verdict) != "cancelled":
        yield f"cancelled job ended with {verdict}"
    answer = target.accepted({"main.sh": b"exit 7"}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    before = target.outcome(job_id, seconds=90)
    target.cancel(job_id)
    after = target.outcome(job_id, seconds=90)
    if (before.verdict, before.exit_code) != ("exit", 7) or (after.verdict, after.exit_code) != ("exit", 7):
        yield f"cancelling what has ended changed it from {before.verdict} to {after.verdict}"


@ATTACKS.attack("cancelled while it still waits for a slot")
def cancel_queued(target: Target) -> Iterator[str]:
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 200}
    busy = [target.accepted({"main.sh": b"sleep 200"}, manifest).json()["job_id"] for _ in range(target.slots + 2)]
    started = time.monotonic()
    for job_id in reversed(busy):
        target.cancel(job_id)
    for job_id in busy:
        outcome = target.outcome(job_id, seconds=90)
        if outcome.verdict != "cancelled":
            yield f"ended with {outcome.verdict}"
    if time.monotonic() - started > 40:
        yield f"took {time.monotonic() - started:.1f} s"


@ATTACKS.attack("waiting times that are none")
def waits_wrong(target: Target) -> Iterator[str]:
    answer = target.accepted({"main.sh": b"sleep 1"}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    for wait in ("-1", "nan", "inf", "-inf", "abc", "", "1e309", "9" * 400, "0x10", "1;2", "%00"):
        started = time.monotonic()
        answer = target.get(f"/status/{job_id}?wait={wait}")
        if answer.status_code >= 500 or time.monotonic() - started > 30:
            yield f"wait={wait[:20]} answered {answer.status_code} after {time.monotonic() - started:.1f} s"
    for query in (
        "stdout_from=-1",
        "stderr_from=-5",
        "stdout_from=99999999999999999999",
        "stdout_from=x",
        "logs=maybe",
        "stdout_from=1.5",
    ):
        for path in ("logs", "status"):
            answer = target.get(f"/{path}/{job_id}?{query}")
            if answer.status_code >= 500:
                yield f"/{path}?{query} answered {answer.status_code}: {answer.text[:100]}"


@ATTACKS.attack("two hundred long polls of one job, half of them dropped: nobody else waits")
def polls_many(target: Target) -> Iterator[str]:
    answer = target.accepted({"main.sh": b"sleep 3"}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    request = f"GET /status/{job_id}?wait=20&logs=true HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n".encode()
    held = [connect(target) for _ in range(200)]
    try:
        for connection in held:
            connection.sendall(request)
        for connection in held[100:]:
            connection.close()
        started = time.monotonic()
        answer = target.get("/health")
        if answer.status_code != 200 or time.monotonic() - started > 10:
            yield f"/health answered {answer.status_code} after {time.monotonic() - started:.2f} s"
        for connection in held[:100]:
            connection.settimeout(60)
            if status_of(connection.recv(65536)) != 200:
                yield "a long poll got no answer"
                return
    finally:
        for connection in held:
            connection.close()


@ATTACKS.attack("the data of a job is gone once it was fetched, whoever fetches at the same time")
def download_races(target: Target) -> Iterator[str]:
    program = b"head -c 3000000 /dev/urandom > big; echo x > small"
    answer = target.accepted({"main.sh": program}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    target.outcome(job_id, seconds=90)

    def fetch() -> int:
        own = target.again()
        status = own.get(f"/download/{job_id}").status_code
        own.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        codes = [future.result() for future in [pool.submit(fetch) for _ in range(8)]]
    if 200 not in codes or not set(codes) <= {200, 404, 409, 410, 503}:
        yield f"eight downloads at once answered {codes}"
    for path in ("/download/{}", "/outputs/{}", "/download/{}/big"):
        answer = target.get(path.format(job_id))
        if answer.status_code not in (404, 410):
            yield f"{path} answered {answer.status_code} after the download"


@ATTACKS.attack("files and logs asked for while the job still runs")
def download_too_early(target: Target) -> Iterator[str]:
    program = b"echo early; echo x > file; sleep 2; echo late > other"
    answer = target.accepted({"main.sh": program}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    for path in ("/outputs/{}", "/download/{}", "/download/{}/file", "/logs/{}"):
        answer = target.get(path.format(job_id))
        if answer.status_code >= 500:
            yield f"{path} answered {answer.status_code} while the job ran: {answer.text[:200]}"
    outcome = target.outcome(job_id, seconds=90)
    if outcome.stdout != "early\n" or outcome.verdict != "completed":
        yield f"the job was disturbed: {outcome.verdict} {outcome.stdout!r}"
    files, _ = target.download(job_id)
    if sorted(name.removeprefix("./") for name in files) != ["file", "other"]:
        yield f"the job's files were lost: {sorted(files)}"


@ATTACKS.attack("names of files that break headers when they are downloaded one by one")
def download_names(target: Target) -> Iterator[str]:
    program = rb"""
for name in $'a\r\nX-Injected: yes' $'b\nc' 'd"; filename="e.exe' $'\xc3\xbc.txt' $'\xff' '%0d%0aX-Injected: yes' '<script>' 'f;g'; do
    echo content > ./"$name"
done
"""
    answer = target.accepted({"main.sh": program}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
    job_id = answer.json()["job_id"]
    target.outcome(job_id, seconds=90)
    listed = target.get(f"/outputs/{job_id}").json()["files"]
    for name in [*(file["name"] for file in listed), "a\r\nX-Injected: yes", "b\nc", "\udcff"]:
        answer = target.get(f"/download/{job_id}/{quote(name, errors='surrogateescape')}")
        if answer.status_code >= 500 or "X-Injected" in answer.headers:
            yield f"{name!r} answered {answer.status_code} {dict(answer.headers)}"
    for file in listed:
        if file["mime_type"].startswith(("text/html", "image/svg")) and file["name"] == "<script>":
            yield f"{file['name']!r} is served as {file['mime_type']}"


@ATTACKS.attack("a body without a manifest, whose job.json is the manifest: as strict as the part")
def manifest_in_upload(target: Target) -> Iterator[str]:
    for text in (b"[]", b"{", b"\xff", b'{"timeout": -1}', b'{"interpreter": "/bin/sh"}', b"[" * 100_000):
        body, content_type = multipart({"main.sh": b"echo x", "job.json": text}, None)
        answer = target.call("POST", "/submit", data=body, headers={"Content-Type": content_type})
        yield from is_client_error(f"job.json {text[:30]!r}", answer)


@ATTACKS.attack("downloads broken off after the first bytes: the files must still go when their time is over")
def downloads_broken_off(target: Target) -> Iterator[str]:
    program = b"head -c 9000000 /dev/urandom > big; echo x > small"
    for number in range(12):
        answer = target.accepted({"main.sh": program}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 60})
        job_id = answer.json()["job_id"]
        target.outcome(job_id, seconds=60)
        path = (f"/download/{job_id}", f"/download/{job_id}/big")[number % 2]
        with connect(target) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: target\r\n\r\n".encode())
            if not connection.recv(1000 if number % 3 else 1):
                yield f"{path} gave nothing"
