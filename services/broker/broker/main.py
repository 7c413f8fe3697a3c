"""Starts the broker as one process: settings, logging, server, signals."""

import gc
import os
import resource
import signal
import sys
from functools import partial

import uvicorn

from broker import __version__, trace_settings
from broker.api.app import make_app
from broker.clock import SteadyClock
from broker.errors import StartError
from broker.logs import set_up, show_traces
from broker.server import Server
from broker.service.broker import Broker
from broker.service.traces import Sink, trace_shown
from broker.settings import Settings, load_settings, refuse_open
from broker.shell.limits import Doors, parse_networks
from broker.shell.protocol import Shell, protocol
from broker.shell.transport import Unread
from broker.store.sqlite import SqliteStore

__all__ = ["build", "main"]

SWITCH_INTERVAL_SECONDS = 0.0005
"""How soon the event loop's thread gives way to the writer's; Python's 5 ms would be a whole commit's time."""

MAX_FRAME_BYTES = 64 * 1024
"""Of what a client sends over a WebSocket: nobody expects anything."""
EXIT_STORE_ENDED = 4
SPARE_FILES = 64
"""Open files that are no connections: the database, the log, links to the outside."""


def build(settings: Settings, sink: Sink | None = None) -> Broker:
    """A broker on a SQLite file."""
    store = SqliteStore(settings.database, durable=settings.durability == "full", max_queued=settings.max_queued_writes)
    return Broker(settings, store, SteadyClock, sink)


def _sink(wanted: bool) -> Sink | None:
    """Where traces go. Loaded only when somebody wants them: it takes 0.3 s and 20 MB."""
    if not wanted:
        return None
    from broker.telemetry import Telemetry

    return Telemetry("sandrun-broker", __version__)


def main() -> None:
    """Run until a signal; exit 0 after a clean stop, 2 when the settings are wrong, 3 when it cannot start, 4 when the
    store ended by itself."""
    try:
        settings = load_settings()
        refuse_open(settings)
        traced = trace_settings.wanted(os.environ)
    except StartError as error:
        sys.exit(_refuse(error, 2))
    set_up(settings.log_level, settings.log_format)
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    sink = _sink(traced)
    if sink is not None:
        show_traces(partial(trace_shown, sink))
    broker = build(settings, sink)
    server = Server(_config(settings, broker), broker)
    # What is loaded by now stays. Going through it took the collector 40 ms each time, with every call waiting.
    gc.collect()
    gc.freeze()
    # uvicorn raises the signal again when it has stopped; that is not to end us before we have said 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    sys.exit(EXIT_STORE_ENDED if server.failed else 0 if server.started else 3)


def _config(settings: Settings, broker: Broker) -> uvicorn.Config:
    shell = _shell(settings)
    shell.answers = broker.meter.answers
    broker.meter.connections = lambda: shell.doors.total
    return uvicorn.Config(
        make_app(broker),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol(shell),
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        lifespan="on",
        backlog=2048,
        log_config=None,
        access_log=False,  # broker.api.app writes it, with the request's id
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.stop_timeout) or 1,
    )


def _shell(settings: Settings) -> Shell:
    """The limits of connections. Some files are left for the database and for its like."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(settings.max_connections, max(files - SPARE_FILES, 1))
    each = settings.max_connections_per_address
    return Shell(
        settings.head_timeout,
        Doors(most, each, parse_networks(settings.trusted_proxies)),
        Unread(settings.read_timeout),
    )


def _raise_file_limit() -> None:
    """Every waiting node is an open connection: take as many as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _refuse(error: StartError, code: int) -> int:
    print(f"broker: {error.message}", file=sys.stderr)
    return code
