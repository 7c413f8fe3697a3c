"""What nodes send (docs/node-protocol.md). Unknown fields are passed over: a node may be newer than its broker."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from broker.wire.fields import Base64, Interpreter, Labels, SafeInt, ShortText

__all__ = [
    "Beat",
    "Capabilities",
    "Claim",
    "Complete",
    "CompleteBatch",
    "HeldRef",
    "Link",
    "Missing",
    "Progress",
    "Register",
    "Release",
    "Start",
]

_LENIENT = ConfigDict(extra="ignore", allow_inf_nan=False)

MAX_CHUNK_CHARS = 2 * 1024 * 1024
"""Of one chunk's base64: half as much again as the 1 MiB that a node sends at most in one call."""

MOST_SECONDS = 1e9
"""Three decades; sums of what nodes say stay numbers that JSON can hold."""

MOST_CORES = 1_000_000
MOST_GB = 1_000_000_000
"""Of one node: far above what there is, and a number that can be reckoned with."""

Seconds = Annotated[float, AfterValidator(lambda value: min(max(value, 0.0), MOST_SECONDS))]
Id = Annotated[str, Field(min_length=1, max_length=200)]
Token = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class Location(BaseModel):
    """Where a node stands, in degrees."""

    model_config = _LENIENT

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Capabilities(BaseModel):
    """What a node offers. Everything sent is kept and shown; these fields decide about jobs."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    cpu_cores: int | float | None = Field(None, ge=0, le=MOST_CORES)
    memory_gb: int | float | None = Field(None, ge=0, le=MOST_GB)
    gpu: Any = None
    interpreters: list[Interpreter] = Field(default_factory=list, max_length=100)
    labels: Labels = Field(default_factory=dict)
    region: str | None = Field(None, max_length=256)
    max_memory_mb: int | float | None = Field(None, ge=0, le=MOST_GB * 1024)
    location: Location | None = None
    lacks: list[Literal["env", "stdin"]] = Field(default_factory=list, max_length=10)
    environments: list[ShortText] = Field(default_factory=list, max_length=100)


class Register(BaseModel):
    """A new session of a node, which may be new itself."""

    model_config = _LENIENT

    endpoint: str = Field(max_length=1000)
    capabilities: Capabilities
    slots: int | None = Field(None, ge=1, le=1024)
    name: str | None = Field(None, max_length=200)
    version: str | None = Field(None, max_length=200)
    node_id: Id | None = None
    secret: Token | None = None
    idempotency_key: str | None = Field(None, min_length=32, max_length=200)
    """Of a new node: with it the id and the secret come again when the answer was lost. As secret as these."""


class NodeCall(BaseModel):
    """Who calls. Without a session the node's present one is meant."""

    model_config = _LENIENT

    node_id: Id
    session: Token | None = None


class HeldRef(BaseModel):
    """Names one attempt."""

    model_config = _LENIENT

    job_id: Id
    fence: SafeInt


class Beat(NodeCall):
    """A sign of life, with what the node holds."""

    held: list[HeldRef] | None = Field(None, max_length=10_000)
    claims_done: SafeInt | None = None
    free_slots: SafeInt | None = None
    draining: bool = False


class Link(NodeCall):
    """Opens the connection that stays open."""


class Claim(NodeCall):
    """A wish for jobs."""

    claim_number: SafeInt | None = Field(None, ge=0)
    wait: float = Field(0, ge=0, le=25)
    max_jobs: int = Field(1, ge=1, le=64)


class Start(NodeCall):
    """These programs run now."""

    jobs: list[HeldRef] = Field(max_length=1000)


class Release(NodeCall):
    """These attempts are handed back unrun."""

    jobs: list[HeldRef] = Field(max_length=1000)
    reason: str | None = Field(None, max_length=1000)


class ProgressChunk(HeldRef):
    """Bytes of a running attempt's output; `offset` counts the stream's true bytes."""

    stream: Literal["stdout", "stderr"]
    offset: int = Field(ge=0, le=2**53)
    data_base64: Base64 = Field("", max_length=MAX_CHUNK_CHARS)


class Progress(NodeCall):
    """What running programs have printed."""

    chunks: list[ProgressChunk] = Field(max_length=1000)


class Limit(BaseModel):
    """The limit that ended a program."""

    model_config = _LENIENT

    name: str = Field(max_length=100)
    value: float | None = None
    peak: float | None = None


class Usage(BaseModel):
    """What an attempt used."""

    model_config = _LENIENT

    wall_seconds: Seconds | None = None
    cpu_seconds: Seconds | None = None
    memory_peak_bytes: SafeInt | None = None


class Artifact(BaseModel):
    """A file that a job left; its content was sent before."""

    model_config = _LENIENT

    path: str = Field(min_length=1, max_length=4096)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=2**53)
    mime: str | None = Field(None, max_length=200)


class DroppedArtifact(BaseModel):
    """A file that a job left and that is not kept, and why."""

    model_config = _LENIENT

    path: str = Field(max_length=4096)
    size: SafeInt | None = None
    reason: str = Field(max_length=100)


class Missing(BaseModel):
    """Contents that a node would send."""

    model_config = _LENIENT

    sha256: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(max_length=10_000)


class Execution(BaseModel):
    """What sandrun says of a run in its own words."""

    model_config = _LENIENT

    job_hash: str | None = Field(None, max_length=200)
    worker_id: str | None = Field(None, max_length=200)
    signature: str | None = Field(None, max_length=500)
    environment: str | None = Field(None, max_length=256)
    entrypoint: str | None = Field(None, max_length=4096)


class Completed(BaseModel):
    """How an attempt ended."""

    model_config = _LENIENT

    job_id: Id
    output: Text = ""
    error: Text = ""
    exit_code: SafeInt | None = None
    fence: SafeInt | None = None
    failure: (
        Literal[
            "exit",
            "signal",
            "timeout",
            "cpu",
            "memory",
            "output",
            "disk",
            "processes",
            "cancelled",
            "rejected",
            "platform",
        ]
        | None
    ) = None
    limit: Limit | None = None
    usage: Usage | None = None
    signal: SafeInt | None = None
    output_bytes: SafeInt | None = None
    error_bytes: SafeInt | None = None
    output_cut_at: SafeInt | None = None
    """Where the sandbox cut standard output, in bytes: so long is the head that was kept."""
    error_cut_at: SafeInt | None = None
    output_base64: Base64 | None = None
    """The bytes themselves when they are no UTF-8."""
    error_base64: Base64 | None = None
    artifacts: list[Artifact] = Field(default_factory=list, max_length=10_000)
    artifacts_dropped: list[DroppedArtifact] = Field(default_factory=list, max_length=1000)
    execution: Execution | None = None
    message: str | None = Field(None, max_length=10_000)


class Complete(Completed, NodeCall):
    """How one attempt ended."""


class CompleteBatch(NodeCall):
    """How several attempts ended; each is judged by itself."""

    completions: list[Completed] = Field(max_length=1000)
