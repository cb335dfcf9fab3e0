"""What an API server does with an object of a definition: it prunes nulls, writes defaults, and checks the structural
schema and the rules. A model of it for tests that run without one; tests/live compares it with a real one."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import cel

from stoa.infrastructure.kubernetes.crds.structural_schema import ANYTHING, RULES

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@cache
def in_python(pattern: str) -> re.Pattern[str]:
    """The same pattern for Python, whose `$` also matches before the last line break."""
    pattern = pattern.replace(r"\s\v\x{85}\p{Z}", r"\s").replace(r"\d", "[0-9]")
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    (version,) = definition["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def admit(definition: dict[str, Any], manifest: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object as it would be stored, and why it would not be: each problem with the field."""
    schema = schema_of(definition)
    stored = _defaulted(schema, json.loads(json.dumps(manifest)))
    return stored, list(_problems(schema, stored, ""))


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            if value.get(name, "") is None and member.get("nullable"):
                continue
            if value.get(name) is None:
                value.pop(name, None)
                if "default" in member:
                    value[name] = member["default"]
            else:
                value[name] = _defaulted(member, value[name])
        if values := schema.get("additionalProperties"):
            kept = {name: member for name, member in value.items() if member is not None or values.get("nullable")}
            return {name: _defaulted(values, member) for name, member in kept.items()}
    elif isinstance(value, list) and "items" in schema:
        return [_defaulted(schema["items"], item) for item in value]
    return value


def _problems(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if value is None and schema.get("nullable"):
        return
    kind = schema.get("type")
    if kind is not None and (
        not isinstance(value, _PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    ):
        yield f"{path}: must be of type {kind}"
        return
    yield from (f"{path}: {problem}" for problem in _value_problems(schema, value))
    if isinstance(value, dict):
        yield from _member_problems(schema, value, path)
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys and len({tuple(item.get(key) for key in keys) for item in value if isinstance(item, dict)}) < len(
            value
        ):
            yield f"{path}: Duplicate value"
        for number, item in enumerate(value):
            yield from _problems(schema.get("items", {}), item, f"{path}[{number}]")
    if rules := schema.get(RULES):
        yield from (f"{path}: {rule['message']}" for rule in rules if not _holds(rule["rule"], value))


def _value_problems(schema: dict[str, Any], value: Any) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield "Unsupported value"
    if isinstance(value, str):
        if "pattern" in schema and not in_python(schema["pattern"]).search(value):
            yield f"should match {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)) or len(value) < schema.get("minLength", 0):
            yield "too long or too short"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
            yield "too small"
        if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
            yield "too large"
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield "too many or too few items"


def _member_problems(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if "oneOf" in schema and [_has(each, value) for each in schema["oneOf"]].count(True) != 1:
        yield f"{path}: must validate one and only one schema (oneOf)"
    if "anyOf" in schema and not any(_has(each, value) for each in schema["anyOf"]):
        yield f"{path}: must validate at least one schema (anyOf)"
    if "not" in schema and _has(schema["not"], value):
        yield f"{path}: must not validate the schema (not)"
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: Required value"
    for name, member in value.items():
        if name in properties:
            yield from _problems(properties[name], member, f"{path}.{name}")
        elif "additionalProperties" in schema:
            yield from _problems(schema["additionalProperties"], member, f"{path}.{name}")
        elif not schema.get(ANYTHING) and path != ".metadata":
            yield f"{path}.{name}: unknown field"


def _has(alternative: dict[str, Any], value: dict[str, Any]) -> bool:
    return all(name in value for name in alternative["required"])


_compiled = cache(cel.compile)


def _holds(rule: str, value: Any) -> bool:
    context = cel.Context()
    context.add_variable("self", value)
    context.add_function("findAll", lambda text, pattern: re.findall(pattern, text))
    context.add_function("indexOf", lambda text, part: text.find(part))
    context.add_function("lastIndexOf", lambda text, part: text.rfind(part))
    context.add_function("lowerAscii", lambda text: text.lower())
    context.add_function("substring", lambda text, begin, end: text[begin:end])
    try:
        return _compiled(rule).execute(context) is True
    except (ValueError, RuntimeError, TypeError) as failure:
        assert "Undefined" not in str(failure), failure  # a function that this model lacks
        return False  # as an API server refuses what a rule cannot be evaluated for
