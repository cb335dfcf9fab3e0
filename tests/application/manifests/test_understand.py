"""What one operation may cost the process that serves calls."""

import pickle

import pytest

from stoa.application.manifests.understand import SCHEMA_LIMIT, affordable, check_cost, understood
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding
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


def compiled_before(**schemas):
    tool = Tool(name="a", binding=LocalBinding(function="f"), **schemas)
    (part,) = affordable([tool], {id(tool.input_schema), id(tool.output_schema)})
    return part


def test_schemas_that_their_converter_compiled_are_not_compiled_again():
    unusable = {"type": "object", "properties": {"a": {"type": 7}}}
    assert isinstance(compiled_before(input_schema=unusable), Tool)
    (found,) = affordable([Tool(name="a", input_schema=unusable, binding=LocalBinding(function="f"))])
    assert isinstance(found, Finding)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "object", "properties": {"a": {"pattern": "(" * 5000}}}, "longer than 4096 characters"),
        ({"type": "object", "patternProperties": {"(?=a)a": {}}}, "look-around"),
        (
            {
                "type": "object",
                "properties": {f"p{n}": {"unevaluatedItems": False, "items": {"$ref": "#"}} for n in range(70)},
            },
            "unevaluatedProperties and unevaluatedItems may stand",
        ),
    ],
)
def test_schemas_that_their_converter_compiled_are_checked_for_what_costs_the_gateway(schema, problem):
    found = compiled_before(input_schema=schema)
    assert isinstance(found, Finding)
    assert problem in found.message


def test_an_output_schema_that_its_converter_compiled_still_has_to_be_one_of_objects():
    definitions = {"A": {"type": "string"}}
    found = compiled_before(output_schema={"type": "object", "$ref": "#/$defs/A", "$defs": definitions})
    assert isinstance(found, Finding)
    assert "its root must have type object" in found.message
