"""The programs under measurement, as processes with files of their own."""

from __future__ import annotations

import sys
from pathlib import Path

from support.broker_process import ROOT, BrokerProcess, free_port

QUIET = {"BROKER_LOG_LEVEL": "warning"}


def broker(directory: Path) -> BrokerProcess:
    """The broker with its defaults: durable commits, one process."""
    return BrokerProcess(directory, QUIET)


def baseline(directory: Path) -> BrokerProcess:
    """The Flask stand-in (baseline_flask.py)."""
    port = free_port()
    command = (sys.executable, "-m", "bench.baseline_flask", str(port), str(directory / "baseline.db"))
    return BrokerProcess(directory, {"PYTHONPATH": str(ROOT)}, command=command, port=port)


def traced(directory: Path, collector: str, share: float) -> BrokerProcess:
    """The broker, sending the traces of a share of its jobs to a collector's URL."""
    sampler = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(share)}
    return BrokerProcess(directory, {**QUIET, "OTEL_EXPORTER_OTLP_ENDPOINT": collector, **sampler})


def uncounted(directory: Path) -> BrokerProcess:
    """The broker with its counting taken out (uncounted.py)."""
    port = free_port()
    path = f"{ROOT}:{ROOT / 'services' / 'broker'}:{ROOT / 'tests'}"
    environment = QUIET | {"PYTHONPATH": path}
    return BrokerProcess(directory, environment, command=(sys.executable, "-m", "bench.uncounted"), port=port)
