"""Databases of all schemas that there were, filled by the brokers of their time: brought to the present one, they work.

`schemas/vNNNN.sql` is such a database as `sqlite3 broker.db .dump` writes it, after a line that says which session its
node had: jobs in every state, each printing its own name; from 0002 on a key, from 0003 a job with files, from 0004 one
with a webhook, from 0005 a drained node, from 0006 a job to be verified. A new migration comes with a further file.
"""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.rig import Api, Node, running
from broker.store.migrate import alembic_config, migrate
from support.clock import FakeClock

pytestmark = pytest.mark.anyio
SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("v*.sql"))
SUBMITTED_ONCE = {"code": "print('once')", "priority": 7}


class Old:
    """A database of a schema."""

    def __init__(self, schema: Path, database: Path) -> None:
        self.version = int(schema.stem[1:])
        self.database = database
        text = schema.read_text()
        self.node: dict[str, Any] = json.loads(text.partition("\n")[0].removeprefix("-- "))
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(text)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def jobs(self) -> dict[str, dict[str, Any]]:
        """By the name that their program prints; without one: the job with files."""
        rows = self.rows("SELECT code, id, fence FROM job_states JOIN job_inputs USING (seq)")
        named = ((re.fullmatch(r"print\('(\w+)'\)", code), job) for code, *job in rows)
        return {name[1] if name else "files": {"id": job[0], "fence": job[1]} for name, job in named}


def test_there_is_one_for_each_migration() -> None:
    versions = Path(str(alembic_config().get_main_option("script_location"))) / "versions"
    assert [schema.stem for schema in SCHEMAS] == sorted(path.stem[:5] for path in versions.glob("v*.py"))


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.stem)
async def test_nothing_is_lost_and_everything_goes_on(schema: Path, tmp_path: Path) -> None:
    old = Old(schema, tmp_path / "broker.db")
    jobs = old.jobs()
    ((last_moment,),) = old.rows("SELECT max(created_at) FROM job_states")
    migrate(old.database)
    if old.version >= 2:
        assert old.rows("SELECT name, role FROM api_keys") == [("old", "client")]
    async with running(tmp_path, FakeClock(last_moment + 5)) as api:
        await what_was_is_there(api, jobs)
        await what_came_later_is_there(api, jobs, old)
        await what_ran_ends(api, jobs, old)
        await what_waits_is_handed_out(api, jobs)


async def what_was_is_there(api: Api, jobs: dict[str, dict[str, Any]]) -> None:
    said = {name: await api.status(job["id"]) for name, job in jobs.items()}
    states = {name: (status["status"], status["failure"]) for name, status in said.items()}
    ended = {"completed": ("completed", None), "failed": ("failed", "exit"), "cancelled": ("failed", "cancelled")}
    held = {"running": ("running", None), "claimed": ("assigned", None)}
    assert states == dict.fromkeys(jobs, ("pending", None)) | ended | held
    completed = await api.ok("GET", f"/results/{jobs['completed']['id']}")
    assert (completed["output"], completed["exit_code"], completed["attempt"]) == ("42\n", 0, 1)
    failed = await api.ok("GET", f"/results/{jobs['failed']['id']}")
    assert (failed["error"], failed["exit_code"]) == ("no", 3)
    labelled = (await api.ok("GET", "/jobs?status=pending&submitter=ann"))["jobs"]
    assert [job["job_id"] for job in labelled] == [jobs["pending"]["id"]]
    asked = await api.ok("GET", f"/jobs/{jobs['gpu']['id']}/input")
    assert (asked["interpreter"], asked["requires"]) == ("ruby", {"gpu": True, "labels": {"rack": "7"}})
    again = await api.ok("POST", "/submit", SUBMITTED_ONCE, headers={"Idempotency-Key": "the-same"})
    assert again["job_id"] == jobs["once"]["id"]


async def what_came_later_is_there(api: Api, jobs: dict[str, dict[str, Any]], old: Old) -> None:
    node = await api.ok("GET", f"/nodes/{old.node['node_id']}")
    assert node["draining"] == (old.version >= 5)
    assert ("files" in jobs, "told" in jobs, "verified" in jobs) == tuple(old.version >= n for n in (3, 4, 6))
    if "files" in jobs:
        given = await api.ok("GET", f"/jobs/{jobs['files']['id']}/input")
        assert (given["files"], given["args"]) == ({"main.py": "print(1)", "in.txt": "x"}, ["a"])
    if "told" in jobs:
        (webhook,) = (await api.ok("GET", f"/jobs/{jobs['told']['id']}/webhooks"))["webhooks"]
        assert (webhook["url"], webhook["state"]) == ("http://127.0.0.1:9/", "owed")
    if "verified" in jobs:
        verify = (await api.status(jobs["verified"]["id"]))["verify"]
        assert verify == {"replicas": 3, "quorum": 2, "results": 0, "equal": 0}


async def what_ran_ends(api: Api, jobs: dict[str, dict[str, Any]], old: Old) -> None:
    """The old node's session goes on: what it runs, it delivers."""
    node = Node(api, old.node)
    assert (await node.beat(jobs["running"], jobs["claimed"]))["status"] == "ok"
    assert (await node.complete(jobs["running"], output="here")).json() == {"status": "ok"}
    assert (await api.ok("GET", f"/results/{jobs['running']['id']}"))["output"] == "here"


async def what_waits_is_handed_out(api: Api, jobs: dict[str, dict[str, Any]]) -> None:
    """In its order, and what only it can run to the node that can."""
    claimed = [job["id"] for job in await (await api.node(slots=8)).claim(max_jobs=8)]
    in_line = [name for name in ("once", "pending", "files", "told", "verified") if name in jobs]
    assert claimed[0] == jobs["once"]["id"], "of a higher priority"
    assert sorted(claimed) == sorted(jobs[name]["id"] for name in in_line)
    able = await api.node("ruby", capabilities={"gpu": True, "labels": {"rack": "7"}})
    assert [job["id"] for job in await able.claim()] == [jobs["gpu"]["id"]]
