"""Conditions on an object or a text in words, where the keywords that state them are taken by no client: which members
go together, which names members have, which values are refused."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object, texts_in

_MOST = 6
"""Conditions of one object that are told."""
_LENGTH = 120
"""Characters of one list of values or names."""


def together(names: Iterable[list[str]]) -> list[str]:
    """Members that have to be given together; nothing if one alternative asks for none."""
    groups = [" and ".join(group) for group in names]
    return [f"give {' or '.join(dict.fromkeys(groups))}"] if all(groups) and len(set(groups)) > 1 else []


def condition_words(schema: JsonObject) -> list[str]:
    """The conditions of one value, as `with a give b`; empty if it has none that words tell better than nothing."""
    return list(dict.fromkeys([*_of_members(schema), *_of_names(schema), *_of_negation(schema.get("not"))]))[:_MOST]


def _of_members(schema: JsonObject) -> Iterator[str]:
    for keyword in ("dependentRequired", "dependencies"):
        for name, needed in as_object(schema.get(keyword)).items():
            if names := texts_in(needed):
                yield f"with {name} give {_joined(names, 'and')}"
    for name, dependent in as_object(schema.get("dependentSchemas")).items():
        if names := texts_in(as_object(dependent).get("required")):
            yield f"with {name} give {_joined(names, 'and')}"
    cases = [schema, *(part for part in as_array(schema.get("allOf")) if is_object(part))]
    for case in cases:
        condition = _values_in(case.get("if"))
        for keyword, start in (("then", "if"), ("else", "unless")):
            if condition and (names := texts_in(as_object(case.get(keyword)).get("required"))):
                yield f"{start} {condition} give {_joined(names, 'and')}"


def _values_in(condition: Any) -> str:
    """`kind is a or b` of the condition that a member has these values; "" of any other."""
    members = as_object(as_object(condition).get("properties"))
    told: list[str] = []
    for name, member in members.items():
        values = [member["const"]] if "const" in as_object(member) else as_array(as_object(member).get("enum"))
        if not values:
            return ""
        told.append(f"{name} is {_joined([_json(value) for value in values], 'or')}")
    if not members:
        return _joined([f"{name} is given" for name in texts_in(as_object(condition).get("required"))], "and")
    return " and ".join(told)


def _of_names(schema: JsonObject) -> Iterator[str]:
    patterns = list(as_object(schema.get("patternProperties")))
    if patterns:
        yield f"{'other members' if schema.get('properties') else 'members'} have names like {_joined(patterns, 'or')}"
    names = as_object(schema.get("propertyNames"))
    if is_array(names.get("enum")):
        yield f"names are {_joined(texts_in(names['enum']), 'or')}"
    elif pattern := as_text(names.get("pattern")):
        yield f"names are like {_joined([pattern], 'or')}"


def _of_negation(refused: Any) -> Iterator[str]:
    """The words of a `not` that refuses members or values; nothing for any other."""
    if not is_object(refused):
        return
    for case in [refused, *(case for case in as_array(refused.get("anyOf")) if is_object(case))]:
        values = [case["const"]] if "const" in case else as_array(case.get("enum"))
        names = texts_in(case.get("required"))
        if values:
            yield f"not {_joined([_json(value) for value in values], 'or')}"
        elif len(names) > 1 and not as_object(case.get("properties")):
            yield f"not {_joined(names, 'and')} together"
        elif names and not as_object(case.get("properties")):
            yield f"not {names[0]}"


def _joined(words: list[str], conjunction: str) -> str:
    """`a, b and c`, as far as there is room."""
    room, shown = _LENGTH, list[str]()
    for word in words:
        room -= len(word) + 2
        if room < 0 and shown:
            return f"{', '.join(shown)}, …"
        shown.append(word[:_LENGTH])
    return f" {conjunction} ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
