"""docs/performance.md and its pictures show the figures that were measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bench.published import DOCS, KINDS, publish, with_table


def measured(cpu: float) -> dict[str, Any]:
    return {
        "version": "",
        "cpu_us_per_call": {"low": cpu - 5, "median": cpu, "high": cpu + 5},
        "cpu_to_bare": {"low": cpu / 100 - 0.1, "median": cpu / 100, "high": cpu / 100 + 0.1},
        "calls_per_second": 4000.0,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
        "idle_rss_mib": 50.0,
    }


FIGURES: dict[str, Any] = {
    "settings": {"rounds": 5, "seconds": 4, "connections": 16},
    "machine": {"date": "2026-12-01", "cpus": 2, "processor": "some <processor>", "python": "3.11.7"},
    "systems": {"bare": measured(100), "gateway": measured(200)},
}


@pytest.mark.parametrize("name", KINDS)
def test_performance_page_shows_the_figures_that_lie_beside_its_pictures(name: str) -> None:
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    measured_figures = DOCS / "pictures" / f"{name}.json"
    if not measured_figures.exists():  # not measured yet on a quiet machine: nothing is shown
        assert f"<!-- {name} -->\n\n<!-- /{name} -->" in page
        assert f"pictures/{name}.svg" not in page
        return
    figures = json.loads(measured_figures.read_text(encoding="utf-8"))
    assert with_table(page, name, figures) == page
    assert (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8") == KINDS[name].picture(figures)


def test_publishing_replaces_a_table_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nafter\n", encoding="utf-8")
    publish("benchmark", FIGURES, tmp_path)
    publish("benchmark", FIGURES, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- benchmark -->\n")
    assert text.endswith("<!-- /benchmark -->\nafter\n")
    assert "old" not in text
    assert "| STOA, everything on | 200 | 195-205 | 2.00 | 1.90-2.10 |" in text
    assert "2026-12-01, 2 cores of some <processor>, Python 3.11.7" in text


def test_a_picture_draws_bars_in_proportion() -> None:
    drawn = KINDS["benchmark"].picture(FIGURES)
    bare, gateway = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)" height="18"', drawn))
    assert gateway == pytest.approx(2 * bare, abs=0.2)
    assert "some &lt;processor&gt;" in drawn


def test_a_rate_that_was_not_kept_is_called_saturated() -> None:
    values = {"p50": 1.0, "p99": 2.0, "p99_9": 3.0}
    step = {
        "rate": 1000.0,
        "percent": 75,
        "of": "bare",
        "systems": {"bare": {**values, "is_kept": True}, "gateway": {**values, "is_kept": False}},
    }
    table = KINDS["latency"].table({**FIGURES, "steps": [step]})
    assert "| bare pass-through | 1.00 | 2.00 | 3.00 |" in table
    assert "| STOA, everything on | saturated | saturated | saturated |" in table


def test_workers_are_shown_with_what_they_bring() -> None:
    spread = {"low": 1.7, "median": 1.8, "high": 1.9}
    row = {
        "connections": 16,
        "arrangement": "2 workers",
        "calls_per_second": {"low": 7000.0, "median": 8000.0, "high": 9000.0},
        "to_one": spread,
        "cpu_us_per_call": 170.0,
        "busiest_above_even": 0.04,
    }
    figures = {**FIGURES, "settings": {"rounds": 5, "seconds": 3}, "rows": [row]}
    assert "| 16 | 2 workers | 8,000 | 1.80 | 1.70-1.90 | 170 | 4% |" in KINDS["workers"].table(figures)
    assert "16: 2 workers" in KINDS["workers"].picture(figures)


def test_many_are_shown_with_what_they_change() -> None:
    cpu = {"low": 150.0, "median": 160.0, "high": 170.0}
    rows = {
        "alone": {"cpu_us": cpu, "to_alone": {"low": 1.0, "median": 1.0, "high": 1.0}, "idle": 0.003},
        "10,000 tools": {"cpu_us": cpu, "to_alone": {"low": 0.99, "median": 1.02, "high": 1.04}, "idle": 0.004},
    }
    figures = {**FIGURES, "settings": {"rounds": 8, "calls": 4000}, "rows": rows}
    assert "| alone | 160 |  |  | 0.3% |" in KINDS["many"].table(figures)
    assert "| 10,000 tools | 160 | +2.0% | -1.0% to +4.0% | 0.4% |" in KINDS["many"].table(figures)
    assert "160 µs, +2.0%" in KINDS["many"].picture(figures)
