"""deploy/prometheus and deploy/grafana ask for metrics that are there; each alert has a test and is in the manual."""

import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, generate_latest

from agent import gauges
from agent.broker_client import SessionTerms
from agent.clock import BootClock
from agent.identity import StateFolder
from agent.lease import Session
from agent.lifecycle import Agent
from agent.liveness import LiveFile
from agent.settings import load
from api.rig import Api
from broker.store.load import stamp_of
from support import queries
from support.scrape import Scrape

pytestmark = pytest.mark.anyio
MANUAL = queries.ROOT / "docs" / "operations.md"


def node_metrics(folder: Path) -> str:
    """Everything that a node in a container says."""
    cgroup = {"memory.current": "1", "pids.current": "1", "cpu.stat": "usage_usec 1\nthrottled_usec 1"}
    for name, text in (cgroup | {"memory.events": "oom_kill 0"}).items():
        (folder / name).write_text(text)
    agent = Agent(load([], {}), BootClock(), StateFolder(None), LiveFile(folder / "live.json"))
    session = Session(SessionTerms("n", "s", None, 60, 20, BootClock().now()), BootClock())
    registry = CollectorRegistry()
    registry.register(gauges._NodeCollector(load([], {}), agent.parts, lambda: session, agent.problem))
    registry.register(gauges._ContainerCollector(folder, folder))
    return (generate_latest(registry) + generate_latest(agent.parts.metrics.registry)).decode()


async def existing(api: Api, folder: Path) -> set[str]:
    """The names of all series that brokers and nodes have."""
    await api.ok("GET", "/health")  # the first answer is counted when it is out
    answer = await api.call("GET", "/metrics")
    series = [*Scrape(answer.text).samples, *Scrape(node_metrics(folder)).samples]
    return {name for name, _ in series}


async def test_alerts_and_dashboard_ask_for_what_there_is(api: Api, tmp_path: Path) -> None:
    stamp_of(tmp_path / "broker.db").touch()
    (tmp_path / "node").mkdir()
    there = await existing(api, tmp_path / "node")
    rules = [rule["expr"] for rule in queries.alerts().values()]
    for asked in (queries.names_in(rules), queries.names_in(queries.dashboard_queries())):
        assert len(asked) > 15
        assert asked <= there


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """By its JSON model: it has not been opened in a Grafana."""
    document = json.loads(queries.DASHBOARD.read_text())
    assert document["schemaVersion"] >= 36, "datasources are objects with a type and a uid"
    assert "id" not in document, "a number of one Grafana; `uid` names it in all"
    (variable,) = document["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert all(one["datasource"] == source for one in document["annotations"]["list"])
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"], panel["id"]
        targets = panel.get("targets", [])
        assert bool(targets) == (panel["type"] != "row"), panel["title"]
        assert len({target["refId"] for target in targets}) == len(targets), panel["title"]
        assert all(one["datasource"] == source for one in ([panel, *targets] if targets else [])), panel["title"]
    cells = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(cells)) == len(cells), "no panel covers another"
    assert {column for column, _ in cells} == set(range(24)), "24 columns, and none beyond them"


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    rows, columns = range(place["y"], place["y"] + place["h"]), range(place["x"], place["x"] + place["w"])
    return [(column, row) for row in rows for column in columns]


def test_every_alert_fires_in_a_test() -> None:
    tests = yaml.safe_load(queries.RULE_TESTS.read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == queries.alerts().keys()


def test_every_alert_says_how_bad_it_is_and_has_its_part_in_the_manual() -> None:
    manual = MANUAL.read_text()
    described = set(re.findall(r"^\| `(Sandrun\w+)` \|", manual, re.MULTILINE))
    assert described == queries.alerts().keys()
    for name, rule in queries.alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"].endswith("."), name
