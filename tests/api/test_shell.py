"""The shell around the broker, against a real process: nobody holds memory or connections for ever, and the others
are served meanwhile."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from api.shell_rig import GET, MIB, POST, connections, dialled
from support.broker_process import ROOT, BrokerProcess
from support.http_connection import json_request
from support.waiting import eventually

pytestmark = pytest.mark.anyio


SLOW = {
    "a slow target": ([b"POST /sub", b"mit HT"], 408),
    "a slow head": ([GET, b"x: y"], 408),
    "a slow body": ([POST + b"content-length: 99\r\n\r\n", b"{", b"}"], 408),
    "slow chunks": ([POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n{\r\n", b"1\r\n"], 408),
    "slow after the refusal": ([POST.replace(b"json", b"png") + b"content-length: 99\r\n\r\n", b"{", b"}"], 415),
}


async def test_slow_callers_are_told_and_left(process: BrokerProcess) -> None:
    async def crawl(name: str, pieces: list[bytes], status: int) -> None:
        async with dialled(process) as raw:
            for piece in pieces:
                await raw.send(piece)
            heard = await raw.heard()
            assert (heard.status, bool(heard.error)) == (status, True), name
            assert await raw.rest() == b"", "one answer, and the end"

    await asyncio.gather(*(crawl(name, *case) for name, case in SLOW.items()))


async def test_an_upload_of_a_few_bytes_at_a_time_is_ended(process: BrokerProcess) -> None:
    head = POST.replace(b"application/json", b"multipart/form-data; boundary=b")
    begin = b'--b\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n'
    async with dialled(process) as raw:
        await raw.send(head + b"content-length: 100000\r\n\r\n" + begin)
        answer = asyncio.ensure_future(raw.heard())
        with contextlib.suppress(ConnectionError):
            while not answer.done():
                await raw.send(b"x")
                await asyncio.wait((answer,), timeout=0.3)  # well below the pause that is allowed
        assert (await answer).status == 408


async def test_too_many_connections_get_a_503_at_once(tmp_path: Path) -> None:
    settings = {"BROKER_MAX_CONNECTIONS": "30", "BROKER_MAX_CONNECTIONS_PER_ADDRESS": "20"}
    async with BrokerProcess(tmp_path, settings) as process, contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(dialled(process)) for _ in range(20)]
        for raw in held:
            await raw.send(GET + b"\r\n")
            assert (await raw.heard()).status == 200
        async with dialled(process) as late:
            heard = await late.heard()
            assert (heard.status, heard.headers["retry-after"], bool(heard.error)) == (503, "2", True)
            assert await late.rest() == b""
        await held[0].send(GET + b"\r\n")
        assert (await held[0].heard()).status == 200, "who is in stays in"
        for raw in held:
            await raw.close()
        await eventually(lambda: connections(process) == 0)
        async with dialled(process) as raw:
            await raw.send(GET + b"\r\n")
            assert (await raw.heard()).status == 200


async def test_others_are_served_beside_slow_clients_and_floods(tmp_path: Path) -> None:
    async with BrokerProcess(tmp_path) as process:
        before = process.rss_bytes()
        command = [sys.executable, "-m", "support.attackers", str(process.port), "--seconds", "200"]
        environment = {"PYTHONPATH": str(ROOT / "tests")}
        attack = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        try:
            assert attack.stdout is not None
            async with asyncio.timeout(60):
                assert await attack.stdout.readline() == b"attacking\n"
            await eventually(lambda: connections(process) >= 200)
            loop, times = asyncio.get_running_loop(), []
            async with dialled(process) as raw:
                for number in range(300):
                    begun = loop.time()
                    await raw.send(json_request("POST", "/submit", {"code": str(number)}))
                    assert (await raw.heard()).status == 200
                    times.append(loop.time() - begun)
        finally:
            attack.kill()
            await attack.wait()
        # `make bench ARGS=shell` has the figure; here the machine may be busy with other tests.
        assert sorted(times)[270] < 5, f"9 of 10 within {sorted(times)[270]:.3f} s"
        assert process.rss_bytes() - before < 100 * MIB


async def test_a_websocket_counts_until_it_ends(tmp_path: Path) -> None:
    upgrade = (
        b"GET /stream/x HTTP/1.1\r\nhost: b\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with BrokerProcess(tmp_path, {"BROKER_MAX_CONNECTIONS": "5"}) as process:
        for _ in range(12):
            async with dialled(process) as raw:
                await raw.send(upgrade)
                assert (await raw.heard()).status in (101, 403, 404), "there is no such job"
            await eventually(lambda: connections(process) == 0)
        async with dialled(process) as raw:
            await raw.send(GET + b"\r\n")
            assert (await raw.heard()).status == 200


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with BrokerProcess(tmp_path, {"BROKER_READ_TIMEOUT": "1"}) as process:
        body = {"endpoint": "x", "capabilities": {"interpreters": ["python3"]}}
        async with dialled(process) as node:
            await node.send(json_request("POST", "/register", body))
            who = {"node_id": (await node.answer())[1]["node_id"]}
            await node.send(json_request("POST", "/submit", {"code": "x"}))
            job_id = (await node.answer())[1]["job_id"]
            await node.send(json_request("POST", "/claim", who))
            await node.heard()
            said = {**who, "job_id": job_id, "output": "x" * 12 * MIB, "error": "", "exit_code": 0}
            await node.send(json_request("POST", "/complete", said))
            assert (await node.heard()).status == 200
        async with dialled(process) as deaf:
            await deaf.send(json_request("GET", f"/results/{job_id}"))
            await eventually(lambda: connections(process) == 0)
        async with dialled(process) as slow:  # slow, and yet a reader
            await slow.send(json_request("GET", f"/results/{job_id}") * 2)
            for _ in range(2):
                assert len((await slow.heard()).body) > 12 * MIB


DYING_WRITER = """
import sys
from broker.main import main
from broker.store.writer import GroupWriter
transact = GroupWriter._transact
def die(self, connection, group):
    if any(pending.size == 4321 for pending in group):
        raise SystemExit("somebody foresaw nothing of the kind")
    transact(self, connection, group)
GroupWriter._transact = die
main()
"""


async def test_the_process_ends_when_its_writer_has_ended(tmp_path: Path) -> None:
    async with BrokerProcess(tmp_path, command=(sys.executable, "-c", DYING_WRITER)) as process:
        async with dialled(process) as raw:
            await raw.send(json_request("POST", "/submit", {"code": "x" * 4321}))
            assert (await raw.heard()).status == 503, "the caller is told that nothing was stored"
        assert await process.wait_ended(60) == 4
