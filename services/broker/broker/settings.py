"""Every setting of the broker: environment first, then the file named by BROKER_CONFIG, then the defaults here.

Four names are shared with other parts of the system and carry no prefix: JOB_TIMEOUT, RESULT_TTL, NODE_TIMEOUT and
MAX_RETRIES. All others are BROKER_ plus the field's name in capitals. The file (TOML or JSON) uses the same names.
"""

import json
import os
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from broker.errors import StartError
from broker.shell.limits import parse_networks

__all__ = ["Settings", "load_settings", "refuse_open"]

CONFIG_VARIABLE = "BROKER_CONFIG"
MIB = 1024 * 1024


class Settings(BaseSettings):
    """The broker's settings. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="BROKER_", extra="ignore", frozen=True, populate_by_name=True)

    job_timeout: float = Field(300, validation_alias="JOB_TIMEOUT", gt=0, le=7 * 86400)
    """The longest run time that a job may ask for, and the default."""
    result_ttl: float = Field(3600, validation_alias="RESULT_TTL", gt=0)
    """How long an ended job and its result are kept."""
    node_timeout: float = Field(60, validation_alias="NODE_TIMEOUT", ge=0.5)
    """The lease: how long a silent node keeps its jobs."""
    max_retries: int = Field(3, validation_alias="MAX_RETRIES", ge=0, le=100)
    """How often a job is run again after its node or its executor failed."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    database: Path = Path("data/broker.db")
    durability: Literal["full", "relaxed"] = "full"
    """`full`: an answer is sent after the disk has the change. `relaxed`: a power cut may lose the last moments."""
    blobs: Path | None = None
    """The folder for uploaded files and artifacts; the default is `blobs` beside the database."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text at a terminal, JSON elsewhere."""
    access_log: bool = False
    """A line for each call."""

    auth: Literal["off", "required"] = "off"
    """`required`: every call needs a key (docs/keys.md). `off`: whoever reaches the broker may do everything."""
    published: str | None = None
    """The address on which others reach the broker, when it is not BROKER_HOST: a container's published address."""
    allow_open: bool = False
    """Start without keys although others than this machine can reach the broker."""
    admin_key_file: Path | None = None
    """A file that holds an admin key's secret."""
    join_token_file: Path | None = None
    """A file that holds the secret with which nodes join."""
    metrics_key_file: Path | None = None
    """A file that holds the secret with which a monitoring system reads GET /metrics."""
    admin_socket: Path | None = None
    """Where the command broker-keys reaches the broker; admin.sock beside the database unless set."""
    login_seconds: float = Field(8 * 3600, ge=60)
    """How long a login of the dashboard lasts."""

    limit_submissions_per_minute: int = Field(0, ge=0)
    """Limits of a client's key, 0 for none; a key can have its own. With BROKER_AUTH=required only."""
    limit_jobs_pending: int = Field(10_000, ge=0)
    limit_jobs_unfinished: int = Field(0, ge=0)
    limit_cpu_seconds_per_day: int = Field(0, ge=0)
    limit_stored_bytes: int = Field(1024 * MIB, ge=0)
    limit_calls_per_minute: int = Field(0, ge=0)
    """Calls from one address, 0 for no limit; with keys or without."""
    limit_failed_logins_per_minute: int = Field(30, ge=1)
    """Calls from one address with a wrong key that are answered as such; beyond it they get 429."""

    max_body_bytes: int = Field(2 * MIB, ge=1024)
    """The largest body of a client's call."""
    max_node_body_bytes: int = Field(16 * MIB, ge=64 * 1024)
    """The largest body of a node's call: it carries outputs."""
    head_timeout: float = Field(10, gt=0)
    """How long the head of a request may take, and a connection may be silent before its first."""
    body_timeout: float = Field(30, gt=0)
    """How long a body may take to arrive."""
    read_timeout: float = Field(10, gt=0)
    """How long a client may read less than 4 KiB a second of a large answer before it is cut off."""
    max_connections: int = Field(10_000, ge=1)
    """Connections at a time; beyond it the answer is 503 and the end. A node has two or three."""
    max_connections_per_address: int = Field(4_000, ge=1)
    """The same for one address (IPv6: a /64). Who sits behind one router shares it; trusted proxies have none."""
    allowed_hosts: str = ""
    """Names, separated by commas, under which a broker without keys may be called beside addresses and names that no
    public name server gives out; `*` for all. Without it a web page could have its own name point here."""
    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, of proxies whose X-Forwarded-For names the client."""
    proxy_socket: Path | None = None
    """A Unix socket to listen on as well, for a proxy whose X-Forwarded-For names the client."""
    max_file_bytes: int = Field(512 * MIB, ge=1)
    """The largest file: one part of an upload, or one artifact."""
    max_upload_bytes: int = Field(125 * MIB, ge=1)
    """The most that one job's upload may have, all its parts together: what a sandrun takes (SANDRUN_UPLOAD_BYTES, 128
    MiB with the manifest and what is between the parts), so that no node has to refuse it."""
    max_artifacts_bytes: int = Field(1024 * MIB, ge=1)
    """The most that one job's artifacts may have together."""
    max_stored_bytes: int = Field(10 * 1024 * MIB, ge=1)
    """The most that is kept of all files together; beyond it the oldest ended jobs' artifacts go first."""
    min_free_bytes: int = Field(256 * MIB, ge=0)
    """What is left free on the disk that files are kept on: the database needs room to grow."""
    max_uploads: int = Field(32, ge=1)
    """Uploads that may arrive at a time, from clients and nodes each; beyond it the answer is 503."""
    upload_timeout: float = Field(900, gt=0)
    """How long an upload may take. A pause of BROKER_BODY_TIMEOUT ends it earlier."""
    max_batch: int = Field(1000, ge=1, le=1000)
    """Jobs in one POST /submit/batch or /results/batch."""
    max_queued_writes: int = Field(10_000, ge=1)
    """Calls that may wait for the database's writer; beyond it the answer is 503."""
    max_waiting_calls: int = Field(20_000, ge=1)
    """Calls that may hang in a long poll at a time; beyond it the answer is 503."""
    max_nodes: int = Field(10_000, ge=1)
    """Nodes that may be known, silent ones included; beyond it a new one gets 503. With three quarters of them silent
    ones are forgotten after a minute."""
    max_classes: int = Field(1_000, ge=1)
    """Different sets of requirements that may be pending at a time; beyond it the answer is 503."""

    max_live_readers: int = Field(5_000, ge=1)
    """Readers of live output at a time; beyond it the answer is 503."""
    live_stream_bytes: int = Field(2 * MIB, ge=64 * 1024)
    """Live output kept of each stream of a job that somebody reads."""
    live_total_bytes: int = Field(64 * MIB, ge=MIB)
    """Live output kept of all jobs together."""

    webhook_secret: str | None = Field(None, repr=False)
    """Signs webhooks (Standard Webhooks: whsec_ and base64). Without it one is made and kept beside the database."""
    webhook_secret_file: Path | None = None
    """The same from a file."""
    webhook_allow: str = ""
    """Hosts, addresses and networks, separated by commas, that webhooks may reach although they are not public."""

    link_grace: float = Field(0.5, ge=0.05)
    """How long a node may take to come back after its link broke."""
    link_trouble_grace: float = Field(5, ge=0)
    """The same when the network seems to have failed: many links at once, the only one, one that came back before."""
    timeout_grace: float = Field(15, ge=0)
    """What a node may take beyond a job's timeout to set it up, end it and deliver the result."""
    cancel_grace: float = Field(2, ge=0)
    """How long a linked node may take to deliver a cancelled job's partial output."""
    reject_after: float = Field(300, ge=0)
    """How long a job waits for a kind of node that no node, dead or alive, ever was."""
    node_retention: float = Field(86400, ge=60)
    """How long a silent node stays in the list."""
    tombstone_ttl: float = Field(86400, ge=0)
    """How long an expired job is answered with 410 rather than 404."""
    idempotency_ttl: float = Field(86400, ge=60)
    """How long an Idempotency-Key is remembered."""
    stop_timeout: float = Field(10, gt=0)
    """How long a stopping broker waits for the calls that it is answering."""

    @property
    def blob_folder(self) -> Path:
        """Where files are kept."""
        return self.blobs or self.database.parent / "blobs"

    @field_validator("durability", "log_level", "log_format", "auth", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "published", "admin_key_file", "join_token_file", "metrics_key_file", "admin_socket", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """What ${NAME:-} in a compose file leaves behind."""
        return None if value == "" else value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments (tests) beat the environment, which beats the file."""
        return init_settings, env_settings, _FileSource(settings_cls)


class _FileSource(PydanticBaseSettingsSource):
    """The settings in the file that BROKER_CONFIG names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # the whole file is read at once in __call__

    def __call__(self) -> dict[str, Any]:
        name = os.environ.get(CONFIG_VARIABLE)
        if not name:
            return {}
        known = {_variable(field): field for field in Settings.model_fields}
        values = {}
        for key, value in _read(Path(name)).items():
            if key not in known:
                raise StartError(f"{name}: unknown setting {key}; known are {', '.join(sorted(known))}")
            field = known[key]
            values[str(Settings.model_fields[field].validation_alias or field)] = value
        return values


def load_settings(**overrides: Any) -> Settings:
    """Read and check all settings; StartError names the variable that is wrong and what would be right."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            location = str(problem["loc"][0])
            name = location if location.isupper() else _variable(location)
            lines.append(f"{name}={problem['input']!r}: {problem['msg']}")
        raise StartError("wrong settings: " + "; ".join(lines)) from None


def refuse_open(settings: Settings) -> None:
    """StartError when others than this machine would reach a broker that asks for no keys."""
    address = settings.host if settings.published is None else settings.published
    if settings.auth == "required" or settings.allow_open or _is_loopback(address):
        return
    raise StartError(
        f"this broker would be reached at {address} by whoever can reach that address, and asks for no keys: set "
        "BROKER_AUTH=required (docs/keys.md), or publish it on 127.0.0.1; if everybody there may run code on your "
        "nodes and read all results, set BROKER_ALLOW_OPEN=true"
    )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def _variable(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return str(alias) if alias else f"BROKER_{field.upper()}"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise StartError(f"{CONFIG_VARIABLE}={path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise StartError(f"{CONFIG_VARIABLE}={path}: not valid TOML or JSON: {error}") from None
    if not isinstance(values, dict):
        raise StartError(f"{CONFIG_VARIABLE}={path}: must hold names and values")
    return values
