"""Arguments that clients repeat in headers: what they would not accept is refused when the tool is registered."""

import pytest

from stoa.application.schemas.routed_arguments import RoutedArgument, routed_arguments
from stoa.domain.errors import InvalidInput

HEADER = {"type": "string", "x-mcp-header": "Region"}


def properties(**schemas):
    return {"type": "object", "properties": schemas}


def test_annotated_arguments_are_found_where_properties_alone_lead_to_them():
    schema = properties(region=HEADER, deep=properties(flag={"type": "boolean", "x-mcp-header": "Flag"}), plain={})
    assert routed_arguments(schema) == (
        RoutedArgument("Region", ("region",), "string"),
        RoutedArgument("Flag", ("deep", "flag"), "boolean"),
    )


def test_what_only_looks_like_an_annotation_is_none():
    schema = {**properties(**{"x-mcp-header": {"type": "string"}}), "default": {"x-mcp-header": 5}, "minProperties": 1}
    assert routed_arguments(schema) == ()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (HEADER, r"\(root\): x-mcp-header may stand only where"),
        (properties(list={"type": "array", "items": HEADER}), "list/items: x-mcp-header may stand only where"),
        ({**properties(), "$defs": {"a": HEADER}}, "may stand only where"),
        ({**properties(), "allOf": [properties(a=HEADER)]}, "may stand only where"),
        (properties(a={"type": "string", "x-mcp-header": 5}), "must be an HTTP header name"),
        (properties(a={"type": "string", "x-mcp-header": "a b"}), "must be an HTTP header name"),
        (properties(a={"type": "string", "x-mcp-header": "a\n"}), "must be an HTTP header name"),
        (properties(a={"type": "number", "x-mcp-header": "A"}), "needs the type string, integer or boolean"),
        (properties(a={"type": ["string"], "x-mcp-header": "A"}), "needs the type string, integer or boolean"),
        (properties(a={"x-mcp-header": "A"}), "needs the type string, integer or boolean"),
        (properties(a=HEADER, b={**HEADER, "x-mcp-header": "rEGION"}), "must have a name of its own"),
    ],
)
def test_an_annotation_that_clients_would_not_accept_is_refused(schema, said):
    with pytest.raises(InvalidInput, match=said):
        routed_arguments(schema)
