"""`stoa convert --report` and `--strict`: what an API description loses, in the forms that people and programs read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoa.interfaces.cli.app import run

Shell = Callable[..., tuple[int, str, str]]

GOOD: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "parameters": [
                    {"name": "size", "in": "query", "schema": {"type": "integer"}, "example": 7},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}, "examples": {"a": {"value": "x"}}},
                ],
                "responses": {"200": {"description": "ok"}},
            },
            "post": {
                "operationId": "addPet",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}},
                            "examples": {"fits": {"value": {"name": "Ada"}}, "long": {"value": {"name": "Adelaide"}}},
                        }
                    }
                },
                "responses": {"200": {"description": "ok"}},
            },
        }
    },
}
LOSSY: dict[str, Any] = {
    **GOOD,
    "paths": {
        "/pets/<script>": {
            "get": {
                "operationId": "listPets",
                "parameters": [{"name": "Host", "in": "header", "required": True, "schema": {"type": "string"}}],
                "responses": {},
            },
            "put": {"operationId": "x" * 60, "parameters": [{"in": "nowhere"}], "responses": {}},
        }
    },
}


@pytest.fixture
def stoa(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    (tmp_path / "lossy.json").write_text(json.dumps(LOSSY, indent=1))

    def execute(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(tmp_path / each) if each.endswith(".json") else each for each in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


def test_report_tells_what_became_of_each_operation_and_which_examples_are_refused(stoa: Shell) -> None:
    code, out, err = stoa("convert", "good.json", "--report", "json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["counts"] == {"operations": 2, "converted": 2, "approximated": 0, "leftOut": 0}
    assert told["isLossless"] is True
    assert told["examples"]["tried"] == 4
    refused = {(each["operation"], each["example"]) for each in told["examples"]["refused"]}
    assert refused == {
        ("GET /pets", "query parameter page examples/a"),
        ("POST /pets", "requestBody application/json examples/long"),
    }


def test_report_counts_operations_behind_references_to_nothing_as_left_out(stoa: Shell, tmp_path: Path) -> None:
    get = GOOD["paths"]["/pets"]["get"]
    paths = {"/a": {"get": get, "delete": {"$ref": "ops/delete.yml"}, "put": 7}, "/b": {"$ref": "#/nowhere"}}
    (tmp_path / "cut.json").write_text(json.dumps({**GOOD, "paths": paths}))
    _, out, _ = stoa("convert", str(tmp_path / "cut.json"), "--report", "json")
    outcomes = {each["operation"]: each["outcome"] for each in json.loads(out)["operations"]}
    assert outcomes == {
        "GET /a": "converted",
        "DELETE /a": "left out",
        "PUT /a": "left out",
        "/b": "left out",
    }


def test_report_without_a_form_is_a_text_with_reasons_and_renamed_tools(stoa: Shell) -> None:
    code, out, _ = stoa("convert", "lossy.json", "--report")
    assert code == 0
    assert "2 operations, 0 converted, 1 approximated, 1 left out" in out
    assert "left out: GET /pets/<script>: the required parameter 'Host' cannot be sent" in out
    assert "approximated: PUT /pets/<script>" in out
    assert "a parameter without `name` or `in` is left out" in out
    assert f"renamed: {'x' * 41}_" in out


def test_report_as_a_page_shows_words_of_the_description_and_runs_none(stoa: Shell, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code, out, _ = stoa("convert", "lossy.json", "--report", str(page))
    assert code == 0
    assert "listPets" not in out or "tools from" in out, "the tools are still shown"
    written = page.read_text("utf-8")
    assert "GET /pets/&lt;script&gt;" in written
    assert "<script" not in written
    assert 'class="left-out"' in written


def test_strict_fails_on_any_loss_and_on_nothing_else(stoa: Shell) -> None:
    assert stoa("convert", "good.json", "--strict")[0] == 0
    assert stoa("convert", "lossy.json", "--strict")[0] == 1
    assert stoa("convert", "lossy.json")[0] == 0
