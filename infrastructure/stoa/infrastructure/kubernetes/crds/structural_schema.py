"""From a pydantic model to a structural schema (Kubernetes, "Specifying a structural schema"): the JSON Schema of an
API server, without $ref and alternatives.

What such a schema cannot express stays open: a field with alternatives takes any value, and the gateway refuses the
wrong ones in the status.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stoa.application.ports.manifest_parts import DURATION, seconds
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

ANYTHING = "x-kubernetes-preserve-unknown-fields"
RULES = "x-kubernetes-validations"
_TAKEN_OVER = (
    "description", "enum", "format", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "minimum", "maximum", "oneOf", "anyOf", "not", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", RULES,
)  # fmt: skip
_ORDER = (
    "description", "type", "nullable", "default", *_TAKEN_OVER[1:-1],
    "exclusiveMinimum", "exclusiveMaximum", "items", "required", "properties", "additionalProperties", ANYTHING, RULES,
)  # fmt: skip
_WHITE_SPACE = r"\s\v\x{85}\p{Z}"
"""What `\\s` means to the gateway, in the language of an API server, where it is ASCII."""
_DURATION = "duration of the manifest"
_BOUNDS = {
    "gt": ">", "exclusiveMinimum": ">", "ge": ">=", "minimum": ">=",
    "lt": "<", "exclusiveMaximum": "<", "le": "<=", "maximum": "<=",
}  # fmt: skip


class _ManifestJsonSchema(GenerateJsonSchema):
    """JSON Schema of what authors write: pydantic describes a duration as the number that it becomes. A field is
    described by its docstring, as `kubectl explain` shows it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        cls: type[BaseModel] = schema["cls"]
        properties: JsonObject = described.get("properties", {})
        for name, text in _field_docstrings(cls).items():
            field = cls.model_fields.get(name)
            if field is not None and (member := properties.get(field.alias or name)) is not None:
                member["description"] = text
        return described

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        described = super().function_before_schema(schema)
        if schema["function"]["function"] is seconds:
            return {**described, "type": "string", "format": _DURATION}
        return described


def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings of its fields, those of its bases too."""
    texts: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls.__module__.startswith("stoa."):
            for definition in ast.parse(textwrap.dedent(inspect.getsource(cls))).body:
                statements: list[ast.stmt] = definition.body if isinstance(definition, ast.ClassDef) else []
                for statement, following in pairwise(statements):
                    match statement, following:
                        case (
                            ast.AnnAssign(target=ast.Name(id=name)),
                            ast.Expr(value=ast.Constant(value=str(text))),
                        ):
                            texts[name] = " ".join(text.split())
                        case _:
                            pass
    return texts


def structural_schema(model: type[BaseModel]) -> JsonObject:
    """The structural schema of what the model reads."""
    written = model.model_json_schema(by_alias=True, schema_generator=_ManifestJsonSchema)
    return _Converter(written.get("$defs", {})).convert(written)


class _Converter:
    def __init__(self, definitions: JsonObject) -> None:
        self._definitions = definitions

    def convert(self, node: JsonObject) -> JsonObject:
        node, takes_null = self._plain(node)
        result = {key: node[key] for key in _TAKEN_OVER if key in node}
        if "pattern" in node:
            result["pattern"] = node["pattern"].replace(r"\s", _WHITE_SPACE)
        if RULES in node:
            result[RULES] = [{"rule": rule["rule"], "message": rule["message"]} for rule in node[RULES]]
        if node.get("format") == _DURATION:
            result = _duration(node, result)
        else:
            self._add_type(node, result)
        if (default := _default(node)) is not None:
            result["default"] = default
            if takes_null:  # else an API server drops a null, and the default takes the place of what it says
                result["nullable"] = True
        return {key: result[key] for key in sorted(result, key=_ORDER.index)}

    def _plain(self, node: JsonObject) -> tuple[JsonObject, bool]:
        """The node with its references and its single alternative in place; true if it takes a null too."""
        takes_null = False
        while "$ref" in node or _is_union(node):
            outer = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
            if "$ref" in node:
                inner: JsonObject = self._definitions[node["$ref"].rpartition("/")[2]]
            else:
                alternatives = [each for each in node["anyOf"] if each.get("type") != "null"]
                takes_null = takes_null or len(alternatives) < len(node["anyOf"])
                inner = (
                    alternatives[0] if len(alternatives) == 1 else {"type": [each.get("type") for each in alternatives]}
                )
            node = {**inner, **outer}
        return node, takes_null

    def _add_type(self, node: JsonObject, result: JsonObject) -> None:
        match node.get("type"):
            case "object":
                result["type"] = "object"
                self._add_members(node, result)
            case "array":
                result |= {"type": "array", "items": self.convert(node.get("items", {}))}
            case "string" | "boolean" as simple:
                result["type"] = simple
            case "integer" | "number" as numeric:
                result["type"] = numeric
                _add_exclusive_bounds(node, result)
            case _:
                result[ANYTHING] = True
        if "const" in node:
            result["enum"] = [node["const"]]

    def _add_members(self, node: JsonObject, result: JsonObject) -> None:
        if properties := node.get("properties"):
            result["properties"] = {name: self.convert(member) for name, member in properties.items()}
            if node.get("required"):
                result["required"] = node["required"]
        if node.get("additionalProperties") is True or node.get(ANYTHING):
            result[ANYTHING] = True
        elif is_object(values := node.get("additionalProperties")):
            result["additionalProperties"] = self.convert(values)
        elif by_pattern := node.get("patternProperties"):
            ((pattern, values),) = by_pattern.items()
            result["additionalProperties"] = self.convert(values)
            _add_rule(result, f"self.all(name, name.matches({_quoted(pattern)}))", f"names match {pattern}")
        names = as_object(node.get("propertyNames"))
        for bound, comparison, words in (("maxLength", "<=", "at most"), ("minLength", ">=", "at least")):
            if bound in names:
                rule = f"self.all(name, size(name) {comparison} {names[bound]})"
                _add_rule(result, rule, f"names have {words} {names[bound]} characters")


def _is_union(node: JsonObject) -> bool:
    """True for the alternatives of a type; false for those of the fields that an object needs."""
    return any("required" not in each for each in node.get("anyOf", ()))


def _duration(node: JsonObject, result: JsonObject) -> JsonObject:
    result = {key: value for key, value in result.items() if key not in {"minimum", "maximum", "format"}}
    result |= {"type": "string", "maxLength": 32, "pattern": f"^{DURATION.replace('?:', '')}$"}
    for key, comparison in _BOUNDS.items():
        if key in node:
            bound = _written(node[key])
            _add_rule(
                result, f"duration(self) {comparison} duration('{bound}')", f"write a duration {comparison} {bound}"
            )
    return result


def _add_exclusive_bounds(node: JsonObject, result: JsonObject) -> None:
    """OpenAPI 3.0, which API servers read, says by a flag that a bound is exclusive."""
    for key in ("minimum", "maximum"):
        exclusive = f"exclusive{key.capitalize()}"
        if exclusive in node:
            result |= {key: node[exclusive], exclusive: True}


def _add_rule(result: JsonObject, rule: str, message: str) -> None:
    result[RULES] = [*result.get(RULES, ()), {"rule": rule, "message": message}]


def _quoted(pattern: str) -> str:
    return "r'" + pattern.replace("'", "\\x27") + "'"


def _default(node: JsonObject) -> Any:
    """The default of a simple value. Those of objects follow from their members, and an API server that wrote empty
    lists into every manifest would be of no use."""
    default = node.get("default")
    if (
        default is None
        or default == ""
        or is_object(default)
        or is_array(default)
        or isinstance(node.get("type"), list)
    ):
        return None
    return _written(default) if node.get("format") == _DURATION else default


def _written(amount: float) -> str:
    """A duration as authors write it."""
    for unit, length in (("h", 3600), ("m", 60)):
        if amount and amount % length == 0:
            return f"{amount / length:g}{unit}"
    return f"{amount:g}s"
