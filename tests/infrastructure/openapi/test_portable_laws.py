"""The laws of the portable form over real documents: it can be satisfied, and what satisfies it is accepted."""

import os
from typing import Any

import jsonschema_rs
import pytest
from tests.infrastructure.openapi.test_published_and_enforced import accepted, instance
from tests.infrastructure.openapi.test_real_documents import DOCUMENTS, OPTIONS, read

from stoa.domain.schema.subschemas import subschemas
from stoa.infrastructure.openapi import OpenApiConverter

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/openapi")
NAMES = ["argo-workflows/swagger.json", "qdrant/openapi.json", "temporal/openapiv3.yaml", "xero/xero_accounting.yaml"]
if os.environ.get("STOA_EVERY_DOCUMENT"):  # `make nightly`: a minute of work
    NAMES = DOCUMENTS
_SAID_IN_WORDS = {"not", "if", "dependentRequired", "exclusiveMinimum", "exclusiveMaximum"}
_SAID_IN_WORDS |= {"patternProperties", "propertyNames", "prefixItems", "minProperties"}
"""Keywords that no client takes: the values made here know nothing of them."""


def is_said_in_words(schema: Any) -> bool:
    """True if some of what is enforced is shown in words only."""
    if not isinstance(schema, dict):
        return False
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if _SAID_IN_WORDS & schema.keys() or any(set(branch) <= {"required", "type"} for branch in choices if branch):
        return True
    if schema.get("uniqueItems") and schema.get("minItems", 0) > 1:
        return True  # shown, but the entries made here are equal
    numbers = [value for value in schema.get("enum", ()) if isinstance(value, (int, float))]
    return len(numbers) > 16 or any(is_said_in_words(inner.schema) for inner in subschemas(schema))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [None, 2_500])
def test_portable_schemas_of_real_documents_can_be_satisfied_and_what_satisfies_them_is_accepted(name, size):
    tools = OpenApiConverter().convert(read(name), OPTIONS).tools
    tried = 0
    for whole in tools:
        tool = whole.model_copy(update={"schema_size": size})
        shown = tool.portable_input_schema
        if is_said_in_words(tool.input_schema):
            continue
        arguments = instance(shown, shown)
        assert jsonschema_rs.validator_for(shown, offline=True).is_valid(arguments), (tool.name, arguments)
        assert accepted(tool, arguments, "strict")
        if size is None:
            assert accepted(tool, instance(shown, shown, is_full=True), "strict"), tool.name
        tried += 1
    assert tried > len(tools) // 2
