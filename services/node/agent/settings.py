"""The agent's settings: flags beat the environment, the environment beats config.json, config.json beats the default.

A value that cannot be used stops the start with an error that names the setting and where it came from.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from agent import parse
from agent.errors import SettingError
from agent.logs import FORMATS, LEVELS

EXIT_USAGE = 64  # sysexits: EX_USAGE
LONGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Settings:
    """What the agent was told. None means: find out."""

    broker_url: str
    sandrun_url: str
    token: str | None = dataclasses.field(repr=False)
    token_file: Path | None
    poll_interval: float
    slots: int | None
    name: str | None
    region: str | None
    labels: dict[str, str]
    state_dir: Path | None
    drain_seconds: float
    leave_seconds: float
    cpu_cores: float | None
    memory_gb: float | None
    gpu: bool | None
    interpreters: tuple[str, ...] | None
    metrics_listen: str | None
    log_level: str
    log_format: str


@dataclass(frozen=True)
class _Source:
    """Where one setting can come from: flag, environment variable, path in config.json; how it is read; its default."""

    field: str
    flag: str
    env: str
    path: tuple[str, ...]
    read: Callable[[Any], Any]
    default: Any
    help: str


def _source(
    field: str, read: Callable[[Any], Any], default: Any, text: str, *, env: str = "", flag: str = "", inside: str = ""
) -> _Source:
    path = (inside, field) if inside else (field,)
    return _Source(
        field=field,
        flag=flag or "--" + field.replace("_", "-"),
        env=env or "NODE_" + field.upper(),
        path=path,
        read=read,
        default=default,
        help=text,
    )


SOURCES = (
    _source("broker_url", parse.url, "http://localhost:8000", "the broker's URL", env="BROKER_URL", flag="--broker"),
    _source(
        "sandrun_url", parse.url, "http://localhost:8443", "the sandrun's URL", env="SANDRUN_URL", flag="--sandrun"
    ),
    _source("token", parse.token, None, "the join token of a broker that asks for keys; better in a file"),
    _source("token_file", parse.folder, None, "a file that holds the join token", env="NODE_TOKEN_FILE"),
    _source(
        "poll_interval", parse.number(0.1, 3600), 5.0, "longest pause in seconds before something absent is tried again"
    ),
    _source("slots", parse.whole(1, 256), None, "jobs at once; as many as the sandrun takes unless set"),
    _source("name", parse.text, None, "the node's name for people"),
    _source("region", parse.text, None, "where the node is, for jobs that ask for a region"),
    _source("labels", parse.labels, {}, "key=value,key=value for jobs that ask for labels"),
    _source("state_dir", parse.folder, None, "folder for the node's identity and undelivered results"),
    _source("drain_seconds", parse.number(0, 3600), 20.0, "how long running jobs may go on after SIGTERM"),
    _source("leave_seconds", parse.number(1, 3600), 7.0, "how long giving back, delivering and ending may take then"),
    _source("cpu_cores", parse.number(0.1, 4096), None, "cores to advertise", inside="capabilities"),
    _source("memory_gb", parse.number(0.01, 65536), None, "GiB of memory to advertise", inside="capabilities"),
    _source("gpu", parse.yes_no, None, "whether to advertise a GPU: true or false", inside="capabilities"),
    _source("interpreters", parse.names, None, "interpreters to offer, comma separated", inside="capabilities"),
    _source(
        "metrics_listen",
        parse.address,
        None,
        "where Prometheus may read metrics, as in 0.0.0.0:9464; nowhere unless set",
    ),
    _source("log_level", parse.one_of(LEVELS), "info", "one of " + ", ".join(LEVELS), env="LOG_LEVEL"),
    _source("log_format", parse.one_of(FORMATS), "auto", "one of " + ", ".join(FORMATS), env="LOG_FORMAT"),
)


class _Once(argparse.Action):
    """A flag that is there once; of two values nobody can know which was meant."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "is there twice")
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As any other setting that cannot be used."""
        self.exit(EXIT_USAGE, f"agent: {message}; --help lists what there is\n")


def parser() -> argparse.ArgumentParser:
    """The command line of the agent."""
    built = _Parser(
        prog="node.py",
        allow_abbrev=False,
        description="Connects the sandrun on this node to a broker. Flags beat the environment, that beats the file.",
        epilog="Each flag has an environment variable (in brackets); docs/node.md explains all of them.",
    )
    built.add_argument("--config", action=_Once, metavar="FILE", help="a config.json [NODE_CONFIG]")
    built.add_argument("--check", action="store_true", help="exit 0 when the agent that runs here is in good health")
    for source in SOURCES:
        said = f"{source.help} [{source.env}]"
        built.add_argument(source.flag, action=_Once, dest=source.field, metavar="VALUE", help=said)
    return built


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from a command line, an environment and the file that one of them names, or a SettingError."""
    flags = vars(parser().parse_args(arguments))
    origin = "NODE_CONFIG" if flags["config"] is None else "--config"
    config_path = environment.get("NODE_CONFIG") or None if flags["config"] is None else flags["config"]
    if config_path == "":
        raise SettingError(origin, "must name a config file")
    config = read_config(Path(config_path), origin) if config_path else {}
    return Settings(**{source.field: _value(source, flags, environment, config) for source in SOURCES})


def _value(source: _Source, flags: Mapping[str, Any], environment: Mapping[str, str], config: Mapping[str, Any]) -> Any:
    candidates = (
        (source.flag, flags.get(source.field)),
        # An empty variable is what `${NAME:-}` in a compose file leaves behind: not set.
        (source.env, environment.get(source.env) or None),
        (f"{'.'.join(source.path)} in the config file", _dig(config, source.path)),
    )
    for origin, value in candidates:
        if value is not None:
            try:
                return source.read(value)
            except ValueError as error:
                raise SettingError(origin, str(error)) from error
    return source.default


def _dig(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = config
    for depth, key in enumerate(path):
        if not isinstance(value, dict):
            raise SettingError(f"{'.'.join(path[:depth])} in the config file", "must be an object")
        value = value.get(key)
        if value is None:
            return None
    return value


def read_config(path: Path, origin: str = "--config") -> dict[str, Any]:
    """A config.json; SettingError when it is not a readable JSON object or has keys that nobody knows."""
    try:
        # Editors of Windows begin a file with a byte order mark.
        value = json.loads(_text(path, origin).decode("utf-8-sig"), object_pairs_hook=_once_each)
    except OSError as error:
        raise SettingError(origin, f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(origin, f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise SettingError(origin, f"{path} must hold a JSON object")
    known = {".".join(source.path) for source in SOURCES} | {"capabilities"}
    inner = value.get("capabilities")
    names = [*value, *(f"capabilities.{key}" for key in (inner if isinstance(inner, dict) else {}))]
    for name in names:
        if name not in known:
            raise SettingError(f"{name} in the config file", "no such setting; known are " + ", ".join(sorted(known)))
    return value


def _text(path: Path, origin: str) -> bytes:
    """What a file holds; a device may never end."""
    with path.open("rb") as file:
        data = file.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise SettingError(origin, f"{path} must hold at most {LONGEST_FILE} bytes")
    return data


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the file; of two values for one name nobody can know which was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise SettingError(f"{twice} in the config file", "is there twice")
    return found
