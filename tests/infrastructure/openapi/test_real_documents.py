"""The laws of conversion on API descriptions as their owners publish them."""

import json
import time
from pathlib import Path

import pytest
from tests.infrastructure.openapi.laws import assert_all_accounted_for, assert_sound, count_operations

from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.infrastructure.documents import parse_yaml
from stoa.infrastructure.openapi import OpenApiConverter

SPECS = Path(__file__).parents[4] / "shared" / "specs" / "openapi"
DOCUMENTS = sorted(
    str(path.relative_to(SPECS))
    for path in SPECS.rglob("*")
    if path.suffix in {".json", ".yaml"}
    and not (path.parts[-3:-1] == ("petstore-separate", "common") or path.stem in {"NewPet", "Pet", "parameters"})
)
OPTIONS = ConversionOptions(base_url="https://api.example.com")
COMPLETE = {
    "github/api.github.com.json": 1223,
    "kubernetes/swagger-1.13.json": 1014,
    "temporal/openapiv3.yaml": 226,
    "keycloak/23.0.7.json": 316,
    "box/openapi.json": 296,
}
"""How many tools come of those of which no operation is left out."""
MOST_CPU_SECONDS = 15

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/openapi")


def read(name: str) -> SpecDocument:
    return SpecDocument(name, (SPECS / name).read_text("utf-8"))


def paths_of(document: SpecDocument):
    read_text = json.loads if document.location.endswith(".json") else parse_yaml
    return read_text(document.text)["paths"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_real_description_converts_soundly(name):
    document = read(name)
    before = time.process_time()
    conversion = OpenApiConverter().convert(document, OPTIONS)
    assert time.process_time() - before < MOST_CPU_SECONDS
    assert_sound(conversion)
    assert_all_accounted_for(conversion, count_operations(paths_of(document)))
    if name in COMPLETE:
        assert len(conversion.tools) == COMPLETE[name]


@pytest.mark.parametrize(
    "name", ["xero/xero_accounting.yaml", "qdrant/openapi.json", "slack/slack_web_openapi_v2.json"]
)
def test_a_real_description_converts_always_alike(name):
    document = read(name)
    assert OpenApiConverter().convert(document, OPTIONS) == OpenApiConverter().convert(document, OPTIONS)


def test_documents_with_their_own_servers_need_no_base_url():
    conversion = OpenApiConverter().convert(read("twilio/twilio_api_v2010.json"), ConversionOptions())
    assert {getattr(tool.binding, "base_url", None) for tool in conversion.tools} == {"https://api.twilio.com"}
