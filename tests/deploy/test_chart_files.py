"""The chart without Helm: its values fit their schema, each of them is used, and each setting that it writes exists.
tests/live/deploy/test_chart.py renders it and shows it to an API server."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.docs.markdown import ROOT

from stoa.interfaces.settings import Settings

CHART = ROOT / "deploy" / "charts" / "stoa-mcp-gateway"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEMPLATES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(CHART.glob("templates/**/*.*")))


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value that has no values of its own, with its schema."""
    for name, value in values.items():
        declared = schema["properties"][name]
        is_written_whole = name == "resources"
        if isinstance(value, dict) and "properties" in declared and not is_written_whole:
            yield from leaves(value, declared, f"{path}{name}.")
        else:
            yield path + name, declared


def test_chart_values_fit_their_schema() -> None:
    jsonschema_rs.validate(SCHEMA, VALUES)


def test_chart_schema_refuses_what_it_does_not_know() -> None:
    assert SCHEMA["additionalProperties"] is False
    assert dict(leaves(VALUES, SCHEMA))
    assert {"global", *VALUES} == set(SCHEMA["properties"])


@pytest.mark.parametrize("path", [path for path, _ in leaves(VALUES, SCHEMA)])
def test_chart_value_is_used(path: str) -> None:
    """By its whole name, or by its last part within a `with` of the others."""
    *parents, name = path.split(".")
    within = [".".join(parents[:count]) for count in range(1, len(parents) + 1)]
    whole = re.escape(f".Values.{path}")
    assert re.search(rf"{whole}\b", TEMPLATES) or any(
        re.search(rf"with \.Values\.{re.escape(parent)} ", TEMPLATES)
        and re.search(rf"\.{re.escape(path.removeprefix(parent + '.'))}\b", TEMPLATES)
        for parent in within
    ), name


def test_chart_settings_exist() -> None:
    helpers = (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    written = set(re.findall(r'set \$settings "([A-Z0-9_]+)"', helpers))
    written |= set(re.findall(r'^  "([A-Z0-9_]+)" ', helpers, re.MULTILINE))
    deployment = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    written |= set(re.findall(r"- name: ([A-Z0-9_]+)$", deployment, re.MULTILINE))
    assert len(written) > 30
    assert written <= {name.upper() for name in Settings.model_fields}


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    package = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert package is not None
    assert chart["appVersion"] == package[1]
