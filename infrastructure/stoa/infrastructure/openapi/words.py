"""Words about a value that a description gives outside `description`: names and meanings of enum values, and units."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object
from stoa.infrastructure.openapi.text import MEMBER_LIMIT, VALUES_MARK, cut, line, value_peculiarity

_MEANINGS = ("x-enumDescriptions", "x-enum-descriptions", "x-enumDescription", "x-ms-enum")
_NAMES = ("x-enum-varnames", "x-enumNames", "x-enum-names")
_UNITS = ("x-unit", "x-units", "x-uom")
_VALUES = frozenset({"default", "examples", "enum", "const"})
_MEANING_LIMIT = 80
_MOST_VALUES = 40
_MOST_MEANINGS = 3 * MEMBER_LIMIT
"""Characters of all meanings together; a choice without them is a guess, so they get more room than a description."""
WORD_KEYWORDS = frozenset({*_MEANINGS, *_NAMES, *_UNITS})
"""Extensions of a Schema Object that hold words; next to a `$ref` they count as its description does."""


def with_words(raw: JsonObject, schema: JsonObject) -> JsonObject:
    """The schema with a description that tells units and the meaning of enum values too."""
    if WORD_KEYWORDS.isdisjoint(raw):
        return schema
    words = [text for text in (_unit(raw), _values(raw)) if text]
    description = " ".join([as_text(schema.get("description")), *words]).strip()
    return {**schema, "description": description} if words else schema


def with_marked_values(schema: JsonObject, warn: Callable[[str], None]) -> JsonObject:
    """The schema without a default or examples that would instruct the model or hide something, and with a mark beside
    such values of its `enum`, which have to stay."""
    if schema.keys().isdisjoint(_VALUES):
        return schema
    marked = schema
    if "default" in schema and (problem := value_peculiarity(schema["default"])) is not None:
        warn(f"`default` is not shown: {problem}")
        marked = {key: value for key, value in marked.items() if key != "default"}
    if any(value_peculiarity(value) for value in schema.get("examples", ())):
        warn("an example is not shown: it would instruct the model, or has invisible characters")
        kept = [value for value in schema["examples"] if value_peculiarity(value) is None]
        marked = {key: value for key, value in marked.items() if key != "examples"}
        marked |= {"examples": kept} if kept else {}
    values = [schema["const"]] if "const" in schema else as_array(schema.get("enum"))
    problem = next(filter(None, map(value_peculiarity, values)), None)
    if problem is not None:
        warn(f"a value of `enum` is marked as the API's own: {problem}")
        marked = {**marked, "description": f"{as_text(schema.get('description'))} {VALUES_MARK}".strip()}
    return marked


def joined_words(first: str, second: str, limit: int = MEMBER_LIMIT) -> str:
    """Both texts where the second says more than the first, as of a parameter and its schema."""
    if not first or not second:
        return first or second
    if second.lower().rstrip(".") in first.lower():
        return first
    if first.lower().rstrip(".") in second.lower():
        return second
    end = "" if first.endswith((".", "!", "?", ":", "…")) else "."
    return cut(f"{first}{end} {second}", limit)


def example_values(examples: Any) -> list[Any]:
    """The values of `examples`: a list (JSON Schema), or a map of Example Objects (OpenAPI)."""
    if is_array(examples):
        return list(examples)
    if not is_object(examples):
        return []
    return [each["value"] if is_object(each) and "value" in each else each for each in examples.values()]


def _unit(raw: JsonObject) -> str:
    unit = next((line(raw[key], _MEANING_LIMIT) for key in _UNITS if isinstance(raw.get(key), str)), "")
    return f"Unit: {unit}." if unit else ""


def _values(raw: JsonObject) -> str:
    """`Values: 1 (OPEN): not paid yet; 2 (PAID).` for an enum with names or meanings."""
    told = list(_told_values(raw, as_array(raw.get("enum"))[:_MOST_VALUES]))
    return cut(f"Values: {'; '.join(told)}.", _MOST_MEANINGS) if told else ""


def _told_values(raw: JsonObject, enum: Sequence[Any]) -> Iterator[str]:
    names: Sequence[Any] = next((as_array(raw[key]) for key in _NAMES if is_array(raw.get(key))), ())
    meanings = next((raw[key] for key in _MEANINGS if key in raw), None)
    for position, value in enumerate(enum):
        name = names[position] if position < len(names) and names[position] != value else None
        meaning = _meaning(meanings, value, position)
        if name is None and not meaning:
            continue
        called = "" if name is None else f" ({line(str(name), _MEANING_LIMIT)})"
        yield f"{line(str(value), _MEANING_LIMIT)}{called}" + (f": {meaning}" if meaning else "")


def _meaning(meanings: Any, value: Any, position: int) -> str:
    """The meaning of an enum value: the entry of a list at this position, the value of a map under this key, or one of
    the `values` of x-ms-enum."""
    if is_array(meanings):
        return line(as_text(meanings[position]), _MEANING_LIMIT) if position < len(meanings) else ""
    described = as_object(meanings)
    for entry in as_array(described.get("values")):
        if as_object(entry).get("value") == value:
            return line(as_text(as_object(entry).get("description")), _MEANING_LIMIT).rstrip(".")
    return line(as_text(described.get(str(value))), _MEANING_LIMIT).rstrip(".")
