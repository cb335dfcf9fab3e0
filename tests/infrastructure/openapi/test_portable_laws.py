"""The laws of the portable form over real documents: it can be satisfied, and what satisfies it is accepted."""

import jsonschema_rs
import pytest
from tests.infrastructure.openapi.test_published_and_enforced import accepted, has_patterns, instance
from tests.infrastructure.openapi.test_real_documents import DOCUMENTS, OPTIONS, read

from stoa.infrastructure.openapi import OpenApiConverter

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="needs the API descriptions in ../shared/specs/openapi")
NAMES = ["argo-workflows/swagger.json", "qdrant/openapi.json", "temporal/openapiv3.yaml", "xero/xero_accounting.yaml"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [None, 2_500])
def test_portable_schemas_of_real_documents_can_be_satisfied_and_what_satisfies_them_is_accepted(name, size):
    tried = 0
    for whole in OpenApiConverter().convert(read(name), OPTIONS).tools:
        tool = whole.model_copy(update={"schema_size": size})
        shown = tool.portable_input_schema
        if has_patterns(tool.input_schema):
            continue
        arguments = instance(shown, shown)
        assert jsonschema_rs.validator_for(shown, offline=True).is_valid(arguments), (tool.name, arguments)
        assert accepted(tool, arguments, "strict")
        if size is None:
            assert accepted(tool, instance(shown, shown, is_full=True), "strict"), tool.name
        tried += 1
    assert tried > 30
