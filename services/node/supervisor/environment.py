"""What each child sees of the container's environment: sandrun nothing of the broker, the agent nothing of sandrun."""

from collections.abc import Mapping

# Needed by any program to run and to speak to people.
_COMMON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
)
_LOG = ("LOG_LEVEL", "LOG_FORMAT")
_AGENT = ("BROKER_URL",)
# For a broker behind a proxy or a private certificate authority, and how to ask for its name (resolv.conf(5)).
_NETWORK = ("RES_OPTIONS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Where the agent sends traces, if anywhere; a header may be a secret.
_TRACES = "OTEL_"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def for_sandrun(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """SANDRUN_* settings; as many slots as the node has unless said otherwise. No URL, no proxy, no secret."""
    chosen = _pick(environment, (*_COMMON, *_LOG))
    chosen.update({name: value for name, value in environment.items() if name.startswith("SANDRUN_")})
    chosen.pop("SANDRUN_URL", None)
    # The C library's own settings, which keep the memory of a service that unpacks archives small (Dockerfile).
    chosen.update({name: value for name, value in environment.items() if name.startswith("MALLOC_")})
    if environment.get("NODE_SLOTS") and not environment.get("SANDRUN_SLOTS"):
        chosen["SANDRUN_SLOTS"] = environment["NODE_SLOTS"]
    chosen.update(SANDRUN_HOST="127.0.0.1", SANDRUN_PORT=str(port))
    return chosen


def for_agent(environment: Mapping[str, str], port: int, leave_seconds: float) -> dict[str, str]:
    """NODE_* and BROKER_URL, and how to reach the network. It always drives the sandrun beside it, and knows how long
    after its drain time it will be killed."""
    chosen = _pick(environment, (*_COMMON, *_LOG, *_AGENT, *_NETWORK))
    chosen.update({name: value for name, value in environment.items() if name.startswith(("NODE_", _TRACES))})
    chosen.update({name: value for name, value in environment.items() if name.lower() in _PROXIES})
    if not chosen.get("NODE_LEAVE_SECONDS"):
        chosen["NODE_LEAVE_SECONDS"] = f"{leave_seconds:g}"
    chosen["SANDRUN_URL"] = f"http://localhost:{port}"
    return chosen


def _pick(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: environment[name] for name in names if name in environment}
