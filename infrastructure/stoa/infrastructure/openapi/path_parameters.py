"""Matches the path parameters of an operation with the placeholders of its path, where authors spell them apart.

A parameter that is left out leaves its placeholder without a schema, or a segment `:id` that is sent as it stands.
"""

import re
from dataclasses import replace

from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.paths import PLACEHOLDER, ApiOperation, PathTemplate

_COLON = re.compile(r"(?<=/):([A-Za-z_][\w-]*)(?=/|\Z)")


def matched(
    path: PathTemplate, raw: dict[tuple[str, str], JsonObject], operation: ApiOperation, context: ConversionContext
) -> tuple[PathTemplate, dict[tuple[str, str], JsonObject]]:
    """The path and the parameters with the same names; each change is a finding."""
    declared = [name for name, place in raw if place == "path"]
    if declared and set(declared) == set(path.placeholders):
        return path, raw
    path = _with_colons(path, declared, operation, context)
    in_query = PLACEHOLDER.findall("".join(value for _, value in path.query))
    free = [name for name in path.placeholders if name not in declared]
    left = [name for name in declared if name not in path.placeholders and name not in in_query]
    others = dict(raw)
    for name in left:
        alike = [each for each in free if _plain(each) == _plain(name)] or (free if len(free) == len(left) == 1 else [])
        if len(alike) != 1:
            continue
        (placeholder,) = alike
        free.remove(placeholder)
        context.report.warning(
            operation.place, f"the path parameter {name!r} is taken for the placeholder {placeholder!r}"
        )
        others[placeholder, "path"] = {**others.pop((name, "path")), "name": placeholder}
    return path, others


def _with_colons(
    path: PathTemplate, declared: list[str], operation: ApiOperation, context: ConversionContext
) -> PathTemplate:
    """`/pets/:id` as `/pets/{id}`, where a path parameter `id` is declared: so Postman and Express write paths."""
    colons = [name for name in _COLON.findall(path.template) if name in declared and name not in path.placeholders]
    if not colons:
        return path
    context.report.warning(operation.place, f"segments like ':{colons[0]}' are taken for placeholders")
    template = _COLON.sub(lambda match: f"{{{match[1]}}}" if match[1] in colons else match[0], path.template)
    return replace(path, template=template, placeholders=tuple(dict.fromkeys(PLACEHOLDER.findall(template))))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
