"""Where settings come from, which source wins, and what a bad one says."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SettingError
from agent.settings import load


def config(tmp_path: Path, value: Any) -> str:
    path = tmp_path / "config.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_defaults() -> None:
    settings = load([], {})
    assert (settings.broker_url, settings.sandrun_url) == ("http://localhost:8000", "http://localhost:8443")
    assert (settings.poll_interval, settings.drain_seconds) == (5, 20)
    assert (settings.slots, settings.gpu, settings.interpreters) == (None, None, None)


def test_predecessors_config_file(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        {
            "broker_url": "http://b:1/",
            "sandrun_url": "http://s:2",
            "poll_interval": 5,
            "capabilities": {"cpu_cores": 4, "memory_gb": 8, "gpu": False, "interpreters": ["python3", "node"]},
        },
    )
    settings = load(["--config", path], {})
    assert (settings.broker_url, settings.sandrun_url, settings.poll_interval) == ("http://b:1", "http://s:2", 5)
    assert (settings.cpu_cores, settings.memory_gb, settings.gpu) == (4, 8, False)
    assert settings.interpreters == ("python3", "node")


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    path = config(tmp_path, {"broker_url": "http://file", "slots": 1, "name": "file"})
    environment = {"NODE_CONFIG": path, "BROKER_URL": "http://env", "NODE_SLOTS": "2", "SANDRUN_URL": "http://s:9"}
    settings = load(["--broker", "http://flag"], environment)
    assert (settings.broker_url, settings.slots, settings.name) == ("http://flag", 2, "file")
    assert settings.sandrun_url == "http://s:9"


def test_empty_variable_and_null_are_not_set(tmp_path: Path) -> None:
    path = config(tmp_path, {"capabilities": {"gpu": None}, "slots": None})
    settings = load(["--config", path], {"NODE_SLOTS": "", "NODE_NAME": ""})
    assert (settings.slots, settings.name, settings.gpu) == (None, None, None)


def test_lists_and_labels_as_text() -> None:
    environment = {"NODE_LABELS": "disk=ssd,zone=a", "NODE_INTERPRETERS": "bash,sh", "NODE_GPU": "true"}
    settings = load([], environment)
    assert settings.labels == {"disk": "ssd", "zone": "a"}
    assert (settings.interpreters, settings.gpu) == (("bash", "sh"), True)


@pytest.mark.parametrize(
    ("environment", "arguments", "named"),
    [
        ({"BROKER_URL": "broker:8000"}, [], "BROKER_URL: must be a URL"),
        ({"BROKER_URL": "http://u:p@host"}, [], "BROKER_URL: must not hold a user name"),
        ({"SANDRUN_URL": "http://host:99999"}, [], "SANDRUN_URL: "),
        ({"NODE_SLOTS": "0"}, [], "NODE_SLOTS: must be a number from 1 to 256"),
        ({"NODE_SLOTS": "1.5"}, [], "NODE_SLOTS: must be a whole number"),
        ({"NODE_DRAIN_SECONDS": "nan"}, [], "NODE_DRAIN_SECONDS: must be a number"),
        ({"NODE_LABELS": "ssd"}, [], "NODE_LABELS: must look like key=value"),
        ({"NODE_LABELS": "a b=c"}, [], "NODE_LABELS: "),
        ({"NODE_GPU": "maybe"}, [], "NODE_GPU: must be true or false"),
        ({"NODE_NAME": "two\nlines"}, [], "NODE_NAME: must be a line of text"),
        ({"LOG_LEVEL": "loud"}, [], "LOG_LEVEL: must be one of"),
        ({"NODE_INTERPRETERS": "python3,rm -rf"}, [], "NODE_INTERPRETERS: "),
        ({}, ["--poll-interval", "-1"], "--poll-interval: must be a number"),
        ({}, ["--config", "/no/such/file"], "--config: /no/such/file cannot be read"),
    ],
)
def test_bad_value_names_its_setting(environment: dict[str, str], arguments: list[str], named: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(arguments, environment)
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("{", "--config"),
        ([1], "--config"),
        ({"brokerurl": "http://x"}, "brokerurl in the config file: no such setting"),
        ({"capabilities": {"cores": 4}}, "capabilities.cores in the config file: no such setting"),
        ({"capabilities": 4}, "capabilities in the config file: must be an object"),
        ({"capabilities": {"cpu_cores": "many"}}, "capabilities.cpu_cores in the config file: must be a number"),
        ({"slots": True}, "slots in the config file: must be a number"),
        ({"labels": {"a": 1}}, "labels in the config file: "),
        ({"capabilities": {"interpreters": []}}, "capabilities.interpreters in the config file: must be a list"),
    ],
)
def test_bad_config_file_names_the_field(tmp_path: Path, value: Any, named: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(["--config", config(tmp_path, value)], {})
    assert str(caught.value).startswith(named)
