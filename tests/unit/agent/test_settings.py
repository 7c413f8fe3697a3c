"""Where settings come from, which source wins, and what a bad one says."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import parse
from agent.capabilities import detect
from agent.description import Description
from agent.errors import SettingError
from agent.settings import SOURCES, load


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


def test_each_source_beats_the_next_for_every_setting(tmp_path: Path) -> None:
    """Not for a few of them by hand: whatever is added to SOURCES has a flag, a variable and a place in the file."""
    samples: dict[str, tuple[Any, ...]] = {
        "broker_url": ("http://a", "http://b", "http://c"),
        "sandrun_url": ("http://a", "http://b", "http://c"),
        "gpu": (True, False, True),
        "labels": ({"a": "1"}, {"b": "2"}, {"c": "3"}),
        "interpreters": (("sh",), ("bash",), ("node",)),
        "log_level": ("debug", "info", "error"),
        "log_format": ("json", "text", "json"),
        "state_dir": (Path("/a"), Path("/b"), Path("/c")),
        "metrics_listen": ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3"),
        "token_file": (Path("/a"), Path("/b"), Path("/c")),
    }
    for source in SOURCES:
        words = source.read in (parse.text, parse.token)
        low, middle, high = samples.get(source.field, ("low", "middle", "high") if words else (1, 2, 3))
        leaf = {source.path[-1]: _as_json(low)}
        path = config(tmp_path, leaf if len(source.path) == 1 else {source.path[0]: leaf})
        flag, variable = [source.flag, _as_text(high)], {source.env: _as_text(middle)}
        found = [
            getattr(load(arguments, {"NODE_CONFIG": path} | environment), source.field)
            for arguments, environment in (([], {}), ([], variable), (flag, variable), (flag, {}))
        ]
        assert found == [low, middle, high, high], source.field


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={rest}" for key, rest in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def test_detection_comes_last(tmp_path: Path) -> None:
    """What none of the three says is None: found out later (capabilities.detect), and any of them beats it."""
    assert load([], {}).cpu_cores is None
    path = config(tmp_path, {"capabilities": {"cpu_cores": 3, "memory_gb": 1.5, "gpu": True, "interpreters": ["sh"]}})
    found = detect(load(["--config", path], {}), Description(extensions=frozenset({"wait"})))
    assert (found["cpu_cores"], found["memory_gb"], found["gpu"], found["interpreters"]) == (3, 1.5, True, ["sh"])


def test_unknown_flags_are_refused_and_none_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--pol", "--brokers"):
        with pytest.raises(SystemExit) as caught:
            load([flag, "1"], {})
        assert caught.value.code == 64
        assert flag in capsys.readouterr().err


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
        ({}, ["--poll-interval", "soon"], "--poll-interval: must be a number from 0.1 to 3600, not 'soon'"),
        ({}, ["--config", "/no/such/file"], "--config: /no/such/file cannot be read"),
        ({"NODE_CONFIG": "/no/such/file"}, [], "NODE_CONFIG: /no/such/file cannot be read"),
        ({"BROKER_URL": "http://bro ker:8000"}, [], "BROKER_URL: must be a URL"),
        ({"BROKER_URL": "http://host/päth"}, [], "BROKER_URL: must be a URL"),
        ({"BROKER_URL": "http://[::1"}, [], "BROKER_URL: must be a URL"),
        ({"NODE_STATE_DIR": "~no-such-user-here/state"}, [], "NODE_STATE_DIR: "),
        ({}, ["--cpu-cores", "9" * 400], "--cpu-cores: must be a number"),
        ({"NODE_LABELS": "a=1,a=2"}, [], "NODE_LABELS: must hold each key once"),
        ({"BROKER_URL": "http://a..b:80"}, [], "BROKER_URL: holds a host name that cannot be one"),
        ({"BROKER_URL": f"http://{'a' * 64}.b"}, [], "BROKER_URL: holds a host name that cannot be one"),
        ({"NODE_CONFIG": "/no/such/file"}, ["--config", ""], "--config: must name a config file"),
        ({}, ["--config", "/dev/zero"], "--config: /dev/zero must hold at most"),
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
        ({"capabilities": [1]}, "capabilities in the config file: must be an object"),
        ({"capabilities": {"interpreters": ["python3", 3]}}, "capabilities.interpreters in the config file: "),
        ({"capabilities": {"gpu": "perhaps"}}, "capabilities.gpu in the config file: must be true or false"),
        ({"capabilities": {"memory_gb": -8}}, "capabilities.memory_gb in the config file: must be a number"),
        ({"poll_interval": -5}, "poll_interval in the config file: must be a number from 0.1 to 3600, not -5"),
        ({"poll_interval": 10**400}, "poll_interval in the config file: must be a number"),
        ({"broker_url": 8000}, "broker_url in the config file: must be a line of text"),
        ({"state_dir": {}}, "state_dir in the config file: must be a line of text"),
        ("[" * 100_000, "--config"),
        ('{"slots": 1, "slots": 2}', "slots in the config file: is there twice"),
    ],
)
def test_bad_config_file_names_the_field(tmp_path: Path, value: Any, named: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(["--config", config(tmp_path, value)], {})
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize(
    ("given", "read"),
    [("0.0.0.0:9464", "0.0.0.0:9464"), ("[::1]:80", "[::1]:80"), ("", None)],
)
def test_where_metrics_may_be_read(given: str, read: str | None) -> None:
    assert load([], {"NODE_METRICS_LISTEN": given}).metrics_listen == read


@pytest.mark.parametrize("given", ["9464", ":9464", "host:9464", "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0:x"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(SettingError, match=r"NODE_METRICS_LISTEN.*0\.0\.0\.0:9464"):
        load([], {"NODE_METRICS_LISTEN": given})


def test_config_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"slots": 2}')
    assert load(["--config", str(path)], {}).slots == 2


@pytest.mark.parametrize("flag", ["--slots", "--config"])
def test_flag_that_is_there_twice_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load([flag, "2", flag, "3"], {})
    assert ended.value.code == 64
    assert f"{flag}: is there twice" in capsys.readouterr().err
