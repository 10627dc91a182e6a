"""The dashboard and the alerts, as far as they can be judged without services."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.ops import ALERTS, PROMTOOL, asked_for, expressions, metrics_of, panels

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: apt-get install prometheus)")


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=ALERTS.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_takes_configuration_and_alerts() -> None:
    assert "7 rules found" in promtool("check", "rules", ALERTS.name)
    promtool("check", "config", "prometheus.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_has_a_case_where_it_fires_and_one_where_it_does_not() -> None:
    cases = (ALERTS.parent / "alerts_test.yml").read_text(encoding="utf-8").split("  - name: ")[1:]
    fires = {case.split("alertname: ")[1].split()[0] for case in cases if "exp_alerts: []" not in case}
    quiet = {case.split("alertname: ")[1].split()[0] for case in cases if "exp_alerts: []" in case}
    names = {line.split()[-1] for line in ALERTS.read_text(encoding="utf-8").splitlines() if "- alert:" in line}
    assert fires == quiet == names
    assert len(names) == 7


@needs_promtool
def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    cells = [
        (x, y)
        for panel in found
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)


def test_metrics_are_found_in_expressions() -> None:
    expression = 'sum by (wanworker_reason) (rate(wanworker_a_total{wanworker_b="c"}[5m])) / gen_ai_x > rpc_y'
    assert metrics_of(expression) == {"wanworker_a_total", "gen_ai_x", "rpc_y"}
    assert {"wanworker_queue_length", "wanworker_disk_space_bytes", "wanworker_warnings_total"} <= asked_for()
