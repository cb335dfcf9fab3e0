"""What one operation may cost the process that serves calls."""

import pickle

import pytest

from stoa.application.manifests.understand import SCHEMA_LIMIT, check_cost, understood
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import LocalBinding, Tool


def test_a_schema_larger_than_the_limit_is_refused_by_its_field():
    schema = {"type": "object", "properties": {"a": {"description": "x" * SCHEMA_LIMIT}}}
    with pytest.raises(InvalidInput, match=r"^inputSchema is larger than 524288 bytes"):
        check_cost(Tool(name="a", input_schema=schema, binding=LocalBinding(function="f")))
    with pytest.raises(InvalidInput, match=r"^outputSchema is larger"):
        check_cost(Tool(name="a", output_schema=schema, binding=LocalBinding(function="f")))


def test_a_manifest_with_a_schema_larger_than_the_limit_is_refused_by_its_field():
    schema = {"type": "object", "properties": {"a": {"description": "x" * SCHEMA_LIMIT}}}
    spec = {"endpoint": "https://a.example/x", "inputSchema": schema}
    content = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "a"}, "spec": spec}
    with pytest.raises(InvalidInput, match=r"^spec\.inputSchema is larger"):
        list(understood(content))
    spec["inputSchema"] = {"type": "object"}
    (tool,) = understood(content)
    assert tool.identifier == "a"


def test_a_portable_schema_is_made_where_manifests_are_understood_and_comes_along():
    schema = {"type": "object", "properties": {"a": {"oneOf": [{"const": 1}, {"const": 2}]}}}
    spec = {"endpoint": "https://a.example/x", "inputSchema": schema}
    content = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "a"}, "spec": spec}
    (tool,) = understood(content)
    sent = pickle.loads(pickle.dumps(tool))
    assert "portable_input_schema" in vars(sent)
    by_tenant = sent.model_copy(update={"is_by_tenant": True})
    assert vars(by_tenant)["portable_input_schema"] is sent.portable_input_schema
    other = sent.model_copy(update={"input_schema": {"type": "object"}})
    assert "a" not in other.portable_input_schema["properties"]
