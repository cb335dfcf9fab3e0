"""What holds for every conversion, whatever the document says."""

import re
from typing import Any

import jsonschema_rs

from stoa.application.ports import Conversion
from stoa.domain.finding import Severity
from stoa.domain.operations.tool import RestBinding, Tool

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,48}\Z")
_KEY = re.compile(r"^[a-zA-Z0-9_.-]{1,64}\Z")


def assert_sound(conversion: Conversion) -> None:
    """Names legal and unique; schemas closed objects that compile; every argument bound exactly once."""
    names = [tool.name for tool in conversion.tools]
    assert len(set(names)) == len(names)
    for tool in conversion.tools:
        assert _NAME.match(tool.name), tool.name
        assert len(tool.description) <= 1024
        _assert_schemas(tool)
        _assert_bound(tool)


def assert_all_accounted_for(conversion: Conversion, expected: int) -> None:
    """As many tools and error findings as operations."""
    errors = [finding for finding in conversion.findings if finding.severity is Severity.ERROR]
    assert len(conversion.tools) + len(errors) == expected


def count_operations(paths: Any) -> int:
    """Operations under `paths`, as far as they are inside the document."""
    items = [item for path, item in paths.items() if not path.startswith("x-")]
    direct = sum(1 for item in items for method in item if method in METHODS)
    return direct + sum(len(item.get("additionalOperations", ())) for item in items)


def _assert_schemas(tool: Tool) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert not schema.keys() & {"oneOf", "anyOf", "allOf", "not", "$ref"}
    assert set(schema.get("required", ())) <= set(schema["properties"])
    for one in (schema, tool.output_schema):
        if one is not None:
            jsonschema_rs.validator_for(one, offline=True)  # resolves every $ref, or raises
            assert one["type"] == "object"
            _assert_clean(one)


def _assert_clean(schema: Any) -> None:
    """No OpenAPI keyword is left, references are local, arrays have items."""
    if isinstance(schema, bool):
        return
    leaked = {"nullable", "discriminator", "xml", "externalDocs", "example", "readOnly", "writeOnly"}
    assert not schema.keys() & leaked
    assert schema.get("$ref", "#/$defs/").startswith("#/$defs/")
    types = schema.get("type", [])
    if "array" in ([types] if isinstance(types, str) else types):
        assert "items" in schema
    for key in ("properties", "$defs", "patternProperties", "dependentSchemas"):
        for below in schema.get(key, {}).values():
            _assert_clean(below)
    for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
        for below in schema.get(key, ()):
            _assert_clean(below)
    for key in ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"):
        _assert_clean(schema.get(key, True))


def _assert_bound(tool: Tool) -> None:
    binding = tool.binding
    assert isinstance(binding, RestBinding)
    bound = [parameter.argument for parameter in binding.parameters]
    if binding.body is not None:
        assert (binding.body.argument is None) != (binding.body.fields is None)
        bound += [binding.body.argument] if binding.body.argument is not None else list(binding.body.fields or {})
    assert sorted(bound) == sorted(tool.input_schema["properties"])
    assert all(_KEY.match(key) for key in bound)
    places = [(parameter.name, parameter.location) for parameter in binding.parameters]
    assert len(set(places)) == len(places)
    in_path = {parameter.name for parameter in binding.parameters if parameter.location == "path"}
    assert in_path == set(re.findall(r"\{([^{}]+)\}", binding.path))
    assert "?" not in binding.path
    assert "#" not in binding.path
