"""The shell around the broker: JSON that costs more than it weighs."""

import contextlib

import pytest

from api.shell_rig import MIB, POST, dialled
from support.broker_process import BrokerProcess

pytestmark = pytest.mark.anyio


MANY = 2 * MIB - 100
UPLOAD = b'--b\r\ncontent-disposition: form-data; name="%s"; filename="a.py"\r\n\r\n%s\r\n'
COSTLY_JSON = {
    "a batch of nothing": ("/submit/batch", b'{"jobs":[' + b"{}," * (MANY // 3) + b"{}]}"),
    "a batch of numbers": ("/submit/batch", b'{"jobs":[' + b"1," * (MANY // 2) + b"1]}"),
    "ids that are numbers": ("/results/batch", b'{"job_ids":[' + b"1," * (MANY // 2) + b"1]}"),
    "environment": ("/submit", b'{"code":"x","env":{' + b'"1":1,' * (MANY // 6) + b'"1":1}}'),
    "strings without commas": ("/submit", b"[" + b",," * 6000 + b'""' * (MANY // 3) + b"]"),
    "a deep nest": ("/register", b'{"endpoint":"x","capabilities":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"),
    "a deep nest with half a pair": (
        "/register",
        b'{"endpoint":"x","capabilities":{"a":' + b"[" * 700 + b'"\\ud800"' + b"]" * 700 + b"}}",
    ),
    "a number of a million digits": ("/register", b'{"endpoint":"x","capabilities":{"a":' + b"9" * 1_000_000 + b"}}"),
    "an exponent": ("/register", b'{"endpoint":"x","capabilities":{"cpu_cores":1e999999999}}'),
    "a manifest": (
        "/submit",
        UPLOAD % (b"files", b"") + UPLOAD % (b"manifest", b'{"x":[' + b"{}," * (MANY // 4) + b"{}]}") + b"--b--",
    ),
    "what a node says too much": ("/heartbeat", b'{"node_id":"x","z":[' + b"[]," * (MANY // 3) + b"[]]}"),
}


async def test_json_that_costs_more_than_it_weighs_is_refused_quickly(process: BrokerProcess) -> None:
    before, used = process.rss_bytes(), process.cpu_seconds()
    for name, (path, body) in COSTLY_JSON.items():
        async with dialled(process) as raw:
            kind = b"multipart/form-data; boundary=b" if body.startswith(b"--b") else b"application/json"
            head = POST.replace(b"/submit", path.encode()).replace(b"application/json", kind)
            with contextlib.suppress(ConnectionError):  # it may be refused before it is whole
                await raw.send(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            heard = await raw.heard()
            assert (name, heard.status in (400, 422), bool(heard.error)) == (name, True, True), heard
            assert len(heard.body) < 10_000, "an answer is not as large as the question"
    assert process.cpu_seconds() - used < 6, "unbounded, the first alone takes 8 seconds"
    assert process.rss_bytes() - before < 100 * MIB, "and 1.7 GB"
    async with dialled(process) as raw:
        await raw.send(b"GET /nodes HTTP/1.1\r\nhost: b\r\n\r\n")
        assert (await raw.heard()).status == 200
