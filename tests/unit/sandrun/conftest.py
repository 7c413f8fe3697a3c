"""Nodes for the tests of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from unit.sandrun.builders import SETTINGS, FakeLauncher
from unit.sandrun.http_node import Node, a_node, held


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with a_node(tmp_path) as running:
        yield running


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Node]:
    with a_node(tmp_path, FakeLauncher(held), replace(SETTINGS, slots=1, queue=1)) as running:
        yield running
