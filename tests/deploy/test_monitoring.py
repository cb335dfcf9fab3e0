"""The Grafana dashboard and the Prometheus alert rules: each query names what the gateway exports, and each alert leads
to a runbook. tests/live/deploy/test_monitoring.py runs them in a real Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.promql import groupings, selectors
from tests.docs.markdown import ROOT
from tools.docs.reference import exported_metrics

from stoa.domain.access.refusal_reason import RefusalReason

FILES = ROOT / "deploy" / "charts" / "stoa-mcp-gateway" / "files"
DASHBOARD: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds to each series."""
SAMPLES: dict[str, dict[str, set[str]]] = {"up": {}}
"""The values of each label, by the name of an exported sample."""
for _family, _ in exported_metrics():
    for _sample in _family.samples:
        _labels = SAMPLES.setdefault(_sample.name, {})
        for _name, _value in _sample.labels.items():
            _labels.setdefault(_name, set()).add(_value)


def dashboard_expressions() -> list[tuple[str, str]]:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


EXPRESSIONS = [*dashboard_expressions(), *((rule["alert"], rule["expr"]) for rule in RULES)]


@pytest.mark.parametrize("expression", [text for _, text in EXPRESSIONS], ids=[name for name, _ in EXPRESSIONS])
def test_query_names_exported_metrics_labels_and_values(expression: str) -> None:
    asked = list(selectors(expression))
    assert asked, "the query names no metric"
    for selector in asked:
        assert selector.metric in SAMPLES
        labels = SAMPLES[selector.metric]
        for label, operator, value in selector.matchers:
            if label in OF_PROMETHEUS:
                continue
            assert label in labels
            if operator in {"=", "!="}:
                assert value in labels[label]
            else:
                assert all(any(re.fullmatch(part, known) for known in labels[label]) for part in value.split("|"))
    exported = {label for selector in asked for label in SAMPLES[selector.metric]}
    assert groupings(expression) <= exported | OF_PROMETHEUS


def test_query_outside_what_is_exported_is_noticed() -> None:
    """The check itself: misspelt metric, label and value."""
    [misspelt] = selectors("sum(rate(stoa_invocation_total[5m]))")
    assert misspelt.metric not in SAMPLES
    [selector] = selectors('stoa_invocations_total{job=~"$job", status=~"error|timed_out"}')
    assert selector.matchers == (("job", "=~", "$job"), ("status", "=~", "error|timed_out"))
    assert "timed_out" not in SAMPLES["stoa_invocations_total"]["status"]
    assert groupings("sum by (le, toool) (x)") == {"le", "toool"}


def test_dashboard_shows_every_exported_metric() -> None:
    shown = {selector.metric for _, text in dashboard_expressions() for selector in selectors(text)}
    families = {name for name, _ in ((family.name, None) for family, _ in exported_metrics())}
    assert {name for name in families if not any(metric.startswith(name) for metric in shown)} == set()


def test_dashboard_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_dashboard_filters_every_query_by_its_variables() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
    for title, expression in dashboard_expressions():
        assert {"$job", "$instance"} <= set(re.findall(r"\$job|\$instance", expression)), title


def test_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    assert sections == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"


def test_runbooks_name_existing_refusal_reasons() -> None:
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text))
    reasons = {reason.value for reason in RefusalReason}
    others = {name for name in named - reasons if not Path(name).suffix}
    assert others <= {"container_cpu_cfs_throttled_seconds_total"}
