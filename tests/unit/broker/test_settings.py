"""Settings: names, layers, and errors that name the variable."""

from pathlib import Path

import pytest

from broker.errors import StartError
from broker.settings import load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "JOB_TIMEOUT",
        "RESULT_TTL",
        "NODE_TIMEOUT",
        "MAX_RETRIES",
        "BROKER_PORT",
        "BROKER_CONFIG",
        "BROKER_DATABASE",
    ):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert (settings.job_timeout, settings.result_ttl, settings.node_timeout, settings.max_retries) == (
        300,
        3600,
        60,
        3,
    )
    assert (settings.host, settings.port, settings.database) == ("127.0.0.1", 8000, Path("data/broker.db"))


def test_the_environment_is_read_under_its_exact_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "7")
    monkeypatch.setenv("BROKER_PORT", "9000")
    monkeypatch.setenv("BROKER_DURABILITY", "RELAXED")
    settings = load_settings()
    assert (settings.max_retries, settings.port, settings.durability) == (7, 9000, "relaxed")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_TIMEOUT", "-5"),
        ("JOB_TIMEOUT", "soon"),
        ("RESULT_TTL", "0"),
        ("NODE_TIMEOUT", "nan"),
        ("MAX_RETRIES", "1.5"),
        ("BROKER_PORT", "70000"),
        ("BROKER_DURABILITY", "maybe"),
    ],
)
def test_a_wrong_value_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=f"{name}='{value}'"):
        load_settings()


@pytest.mark.parametrize(
    ("file", "text"),
    [("b.toml", "MAX_RETRIES = 1\nBROKER_PORT = 9001\n"), ("b.json", '{"MAX_RETRIES": 1, "BROKER_PORT": 9001}')],
)
def test_the_file_is_the_lowest_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    monkeypatch.setenv("BROKER_CONFIG", str(tmp_path / file))
    monkeypatch.setenv("BROKER_PORT", "9002")
    settings = load_settings()
    assert (settings.max_retries, settings.port) == (1, 9002)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MAX_RETRYS = 1", "unknown setting MAX_RETRYS"),
        ("MAX_RETRIES = ", "not valid TOML"),
        ("MAX_RETRIES = 'x'", "MAX_RETRIES='x'"),
    ],
)
def test_a_wrong_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("BROKER_CONFIG", str(tmp_path / "b.toml"))
    with pytest.raises(StartError, match=message):
        load_settings()


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_CONFIG", "/nowhere/b.toml")
    with pytest.raises(StartError, match="BROKER_CONFIG=/nowhere"):
        load_settings()
