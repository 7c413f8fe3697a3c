"""The agent's process: settings, logs, signals. SIGTERM, SIGINT or SIGHUP drains, a second one hurries."""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

from agent import __version__, gauges, metrics_server, trace_settings
from agent.clock import BootClock
from agent.errors import SettingError
from agent.identity import StateFolder
from agent.lifecycle import Agent
from agent.liveness import LiveFile, check, default_path
from agent.logs import EventLog, configure
from agent.settings import EXIT_USAGE, load
from agent.tracing import Sink, trace_shown
from loglines import show_traces

LOG = EventLog("agent.main")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last when its terminal is closed, except under nohup
TICK = 0.5
LAST_LINES_SECONDS = 1.0
EXIT_CRASH = 70  # EX_SOFTWARE
LONGEST_LINE = 1000
# While a broker's container is away nobody answers for its name, and the C library waits 2 * 5 s for each look-up:
# longer than the broker needs to come back, and every thread that asked meanwhile would miss it.
RESOLVER = "timeout:1 attempts:2"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an agent until it is told to stop; the exit code: 0 drained, 64 bad settings, 70 something broke inside."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--check" in arguments:
        return check()
    try:
        settings = load(arguments, os.environ)
        traced = trace_settings.wanted(os.environ)
    except SettingError as error:
        sys.stderr.write(f"agent: {_one_line(str(error))}\n")
        return EXIT_USAGE
    # Signals are taken by waiting for them: a handler could interrupt a thread that holds a lock it needs.
    # Blocked before the first thread starts, which inherits that.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    lines = configure(settings.log_level, settings.log_format)
    os.environ.setdefault("RES_OPTIONS", RESOLVER)
    LOG.info("starting", version=__version__, broker=settings.broker_url, sandrun=settings.sandrun_url)
    folder = StateFolder(settings.state_dir)
    sink = _sink() if traced else None
    if sink is not None:
        show_traces(partial(trace_shown, sink))
    agent = Agent(settings, BootClock(), folder, LiveFile(default_path()), sink)
    agent.start()
    if settings.metrics_listen is not None:
        gauges.watch(settings, agent.parts, lambda: agent.session, agent.problem)
        metrics_server.serve(settings.metrics_listen, agent.parts.metrics.registry, agent.crash)
    code = _until_stopped(agent)
    if sink is not None:
        sink.close()
    LOG.info("stopped", code=code)
    if not lines.drain(LAST_LINES_SECONDS):
        os._exit(code)  # nobody reads standard error: Python's own last flush would wait for ever
    return code


def _one_line(said: str) -> str:
    """What was given is part of it: it must neither begin a line, nor command a terminal, nor fill it."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in said)
    return plain if len(plain) <= LONGEST_LINE else f"{plain[: LONGEST_LINE // 2]} … {plain[-LONGEST_LINE // 4 :]}"


def _sink() -> Sink:
    """Where traces go. Loaded only when somebody wants them."""
    from agent.telemetry import Telemetry

    return Telemetry("sandrun-node", __version__)


def _until_stopped(agent: Agent) -> int:
    """Wait for a signal or a crash, and see the drain through."""
    draining = False
    while not agent.stopped.is_set():
        if agent.crash.happened.is_set():
            return EXIT_CRASH
        taken = signal.sigtimedwait(SIGNALS, 0.05 if draining else TICK)
        if taken is None or taken.si_signo not in SIGNALS:
            # The second: after SIGSTOP and SIGCONT, CPython returns uninitialised memory if the time was up meanwhile.
            continue
        LOG.info("signal", number=taken.si_signo, again=draining)
        if draining:
            agent.hurry()
        else:
            draining = True
            agent.crash.spawn("drain", agent.drain)
    return 0
