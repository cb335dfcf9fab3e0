"""Operations of a document in its order, and path keys taken apart: template, fixed query, fragment."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from stoa.application.ports.spec import DescribedOperation
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.report import Report

MORE_PATHS = "x-ms-paths"
"""An extension of Microsoft's: paths that differ only in their fixed query."""
_NO_OBJECT = "the operation must be an object"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_DOT_SEGMENT = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_EXPANSION = re.compile(r"\{[?&][^{}]*\}")


class CannotConvert(Exception):
    """This operation yields no tool; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ApiOperation:
    method: str
    """Upper case."""
    path: str
    """The key as the document writes it."""
    path_item: JsonObject
    content: JsonObject

    @property
    def place(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def operation_id(self) -> str | None:
        value = self.content.get("operationId")
        return str(value) if isinstance(value, str | int | float) and str(value).strip() else None


def operations_of(
    document: ApiDocument, references: References, report: Report, left_out: list[DescribedOperation]
) -> Iterator[ApiOperation]:
    """The operations that can be read; the others, and path items that cannot, go to `left_out`."""
    for path, raw_item in _path_items(document, references, report):
        try:
            item = _merged({} if raw_item is None else raw_item, references)  # YAML writes nothing as null
        except Unresolvable as problem:
            report.error(path, f"{problem}; its operations are left out")
            left_out.append(DescribedOperation(path, None, str(problem)))
            continue
        by_method = [(key, item[key]) for key in item if key.lower() in METHODS]
        for key, content in [*by_method, *as_object(item.get("additionalOperations")).items()]:
            place = f"{key.upper()} {path}"
            try:
                yield ApiOperation(key.upper(), path, item, _merged({} if content is None else content, references))
            except Unresolvable as problem:
                reason = str(problem) if is_object(content) else _NO_OBJECT
                report.error(place, f"left out: {reason}")
                left_out.append(DescribedOperation(place, None, reason))


def _path_items(document: ApiDocument, references: References, report: Report) -> Iterator[tuple[str, Any]]:
    for member in ("paths", MORE_PATHS):
        try:
            items = references.value(document.root.get(member, {}))
        except Unresolvable as problem:
            report.error("", f"`{member}`: {problem}; its operations are left out")
            continue
        for path, item in as_object(items).items():
            if not path.startswith("x-") and path != "$ref":
                yield path, item


def _merged(raw: object, references: References) -> JsonObject:
    """The object with what it refers to; its own members beside `$ref` win. No tool is made of an operation that refers
    to nothing: without its parameters, a DELETE would delete more than its author meant."""
    target = references.follow(raw)
    if is_object(raw) and len(raw) > 1 and "$ref" in raw:
        return {**target, **{key: value for key, value in raw.items() if key != "$ref"}}
    return target


@dataclass(frozen=True, slots=True)
class PathTemplate:
    template: str
    placeholders: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    """The pairs after the `?`; values may be placeholders."""


def take_apart(path: str) -> PathTemplate:
    """`/files#search?x=1` and `/v1/{+name}{?page}` in their parts; the fragment never leaves a client."""
    without_fragment = _EXPANSION.sub("", path).partition("#")[0]
    template, _, query = without_fragment.partition("?")
    template = PLACEHOLDER.sub(lambda match: "{" + (match[1].lstrip("+").rstrip("*") or match[1]) + "}", template)
    if _DOT_SEGMENT.search(template):
        raise CannotConvert("the path has a segment . or ..; write the path that is meant")
    if not template.startswith("/"):
        template = f"/{template}"
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    return PathTemplate(template, tuple(dict.fromkeys(PLACEHOLDER.findall(template))), pairs)
