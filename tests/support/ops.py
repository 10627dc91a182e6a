"""What dashboards and alerts ask Prometheus for."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPS = Path(__file__).parents[2] / "ops"
DASHBOARD = OPS / "grafana/wanworker.json"
ALERTS = OPS / "prometheus/alerts.yml"
PROMTOOL = shutil.which("promtool")

_METRIC = re.compile(r"\b(?:wanworker|rpc|gen_ai)_\w+(?=[{\[) ]|$)")
_LABELS = re.compile(r"\{[^}]*\}|\b(?:by|without|ignoring|on)\s*\([^)]*\)")


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without its rows."""
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Every expression of the dashboard."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(_METRIC.findall(_LABELS.sub(" ", expression)))


def asked_for() -> set[str]:
    """All metrics that the dashboard or an alert asks for."""
    alerts = re.findall(r"expr: (?:>-\n)?(.*?)\n\s+(?:for|labels):", ALERTS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(alerts) == 7
    return set[str]().union(*(metrics_of(expression) for expression in (*expressions(), *alerts)))
