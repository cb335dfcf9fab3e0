"""What an operation asks for follows from what its document says it answers."""

import json
from typing import Any

import pytest

from stoa.application.ports.spec import ConversionOptions, SpecDocument
from stoa.infrastructure.openapi import OpenApiConverter


def accept(document: dict[str, Any]) -> str:
    options = ConversionOptions(base_url="http://upstream.invalid")
    (tool,) = OpenApiConverter().convert(SpecDocument("test", json.dumps(document)), options).tools
    return tool.binding.accept


def modern(responses: dict[str, Any]) -> dict[str, Any]:
    info = {"title": "t", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": {"/a": {"get": {"responses": responses}}}}


def test_described_answers_are_asked_for_json_first():
    described = {"200": {"description": "", "content": {"text/csv": {}, "application/json; charset=utf-8": {}}}}
    assert accept(modern(described)) == "application/json, text/csv, */*;q=0.1"


def test_only_successful_answers_count():
    described = {
        "200": {"description": "", "content": {"image/png": {}}},
        "404": {"description": "", "content": {"application/problem+json": {}}},
    }
    assert accept(modern(described)) == "image/png, */*;q=0.1"


@pytest.mark.parametrize("content", [{}, {"*/*": {}}, {"no media type\r\nX: y": {}}])
def test_what_says_nothing_usable_leaves_the_default(content: dict[str, Any]):
    assert accept(modern({"200": {"description": "", "content": content}})) == "application/json, */*;q=0.8"


def test_version_2_says_it_with_produces():
    document = {
        "swagger": "2.0",
        "info": {"title": "t", "version": "1"},
        "produces": ["application/json"],
        "paths": {"/a": {"get": {"produces": ["image/png"], "responses": {"200": {"description": ""}}}}},
    }
    assert accept(document) == "image/png, */*;q=0.1"
