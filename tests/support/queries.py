"""What the alert rules and the Grafana dashboard ask Prometheus for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "alerts.test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "sandrun.json"
_NAME = re.compile(r"\b(?:sandrun|process)_\w+")


def alerts() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, with Grafana's variables replaced."""
    document = json.loads(DASHBOARD.read_text())
    targets = [target for panel in document["panels"] for target in panel.get("targets", ())]
    asked = [target["expr"] for target in targets] + [one["expr"] for one in document["annotations"]["list"]]
    return [expression.replace("$__rate_interval", "1m") for expression in asked]


def names_in(expressions: list[str]) -> set[str]:
    """The metrics that some of these name."""
    return {name for expression in expressions for name in _NAME.findall(expression)}
