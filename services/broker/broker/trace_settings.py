"""Whether traces are sent, by the environment variables that OpenTelemetry names. Nothing of it is imported here."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from broker.errors import StartError

__all__ = ["wanted"]

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_RATIO: Final = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS: Final = (
    "always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_RATIO,
)  # fmt: skip
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NUMBERS: Final = ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY")


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether a collector is named. StartError when a variable cannot be used; an endpoint, which may hold a
    password, is not repeated."""
    name = next((name for name in ENDPOINTS if environment.get(name)), None)
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if name is None or off or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    if (wrong := _wrong(name, environment)) is not None:
        raise StartError(wrong)
    return True


def _wrong(name: str, environment: Mapping[str, str]) -> str | None:
    try:
        url = urlsplit(environment[name])
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good:
        return f"{name} is not a URL such as http://collector:4318"
    for protocol in _PROTOCOLS:
        if environment.get(protocol) not in (None, "", "http/protobuf"):
            return f"{protocol}={environment[protocol]!r}: traces are sent as http/protobuf only"
    for number in _NUMBERS:
        if not (environment.get(number) or "1").isdecimal() or int(environment.get(number) or 1) < 1:
            return f"{number}={environment[number]!r}: a whole number above 0 is wanted"
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").lower()
    if sampler and sampler not in _SAMPLERS:
        return f"OTEL_TRACES_SAMPLER={sampler!r}: known are {', '.join(_SAMPLERS)}"
    share = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler in _RATIO and not _is_share(share):
        return f"OTEL_TRACES_SAMPLER_ARG={share!r}: a number from 0 to 1 is wanted"
    return None


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
