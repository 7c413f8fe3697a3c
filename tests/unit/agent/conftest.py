"""Fakes and a real agent between them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.identity import StateFolder
from agent.lifecycle import Agent
from agent.liveness import LiveFile
from agent.settings import Settings, load
from unit.agent.fake_broker import FakeBroker
from unit.agent.fake_sandrun import FakeSandrun


class TestClock:
    """The boot clock, which a test can move forward as a suspend does."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.ahead


StartAgent = Callable[..., Agent]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    fake = FakeBroker()
    yield fake
    fake.stop()


@pytest.fixture
def sandrun() -> Iterator[FakeSandrun]:
    fake = FakeSandrun()
    yield fake
    fake.stop()


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def settings(broker: FakeBroker, sandrun: FakeSandrun) -> Settings:
    flags = ["--broker", broker.url, "--sandrun", sandrun.url, "--poll-interval", "0.3", "--drain-seconds", "2"]
    return load(flags, {})


@pytest.fixture
def start_agent(settings: Settings, clock: TestClock, tmp_path: Path) -> Iterator[StartAgent]:
    """Starts agents and ends them all; `state_dir` keeps things across two of them."""
    running: list[Agent] = []

    def start(**changes: Any) -> Agent:
        sink = changes.pop("sink", None)
        chosen = replace(settings, **changes)
        folder = StateFolder(chosen.state_dir)
        agent = Agent(chosen, clock, folder, LiveFile(tmp_path / "live.json"), sink)
        agent.start()
        running.append(agent)
        return agent

    yield start
    for agent in running:
        kill(agent)
        agent.folder.close()
        assert not agent.crash.happened.is_set(), "a thread of the agent crashed"


def kill(agent: Agent) -> None:
    """End an agent without any farewell, as SIGKILL does, as far as threads allow."""
    agent.stopped.set()
    agent._leaving.set()
    if agent._serving is not None:
        agent._serving.close("killed")
