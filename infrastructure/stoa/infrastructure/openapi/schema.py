"""Normalises Schema Objects of any OpenAPI version to JSON Schema 2020-12, each named component once.

Nothing here follows a reference into its target's schema, so that circular documents cost nothing: it becomes a
`Reference`, and `bundle` decides later which of them are written out in place and which go to `$defs`.
"""

from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object, texts_in
from stoa.infrastructure.openapi import keywords
from stoa.infrastructure.openapi.combined_keywords import (
    types_of,
    with_null,
    with_numeric_bounds,
    with_types,
    with_values,
    without_lone_all_of,
)
from stoa.infrastructure.openapi.dialect import Dialect
from stoa.infrastructure.openapi.direction import ExcludedMembers
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.report import Report
from stoa.infrastructure.openapi.text import TITLE_LIMIT, line, peculiarity
from stoa.infrastructure.openapi.words import WORD_KEYWORDS, with_words

_DEPTH_LIMIT = 60
"""Steps of a path within one component; two per member."""
_ONE_SCHEMA = frozenset({"if", "then", "else", "not", "contains", "propertyNames", "contentSchema"}) | {
    "unevaluatedItems",
    "unevaluatedProperties",
}
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAPS = frozenset({"patternProperties", "dependentSchemas"})

_MEANT_SIBLINGS = frozenset({"description", "title", "nullable", "example", "examples"}) | WORD_KEYWORDS
"""Siblings of a `$ref` that authors mean, although before 3.1 they do not count."""

Path = tuple[str, ...]
"""The place of a schema, for findings."""
_NONE: frozenset[str] = frozenset()


class SchemaNormaliser:
    """Turns Schema Objects into nodes of one dialect. Never raises: unusable parts are left out, with a warning.

    A schema is walked once, keyword by keyword: plain ones by the table in `keywords`, subschemas by going down.
    Properties that several keywords determine together follow (`combined_keywords`). A keyword unknown to both
    (`example`, `xml`, `x-...`) is dropped.
    """

    def __init__(self, document: ApiDocument, references: References, report: Report, dialect: Dialect) -> None:
        self._counts_siblings = document.has_full_schemas
        self._references = references
        self._report = report
        self._dialect = dialect
        self._excluded = ExcludedMembers(references, dialect.direction)
        self._components: dict[str, Node] = {}

    def component(self, pointer: str) -> Node:
        """The normalised schema behind a Reference."""
        node = self._components.get(pointer)
        if node is None:
            node = self._components[pointer] = self._node(self._references.target(pointer), (pointer,))
        return node

    def node(self, raw: Any, place: str) -> Node:
        """Normalise a schema that stands at `place`, which names it in findings."""
        return self._node(raw, (place,))

    def _warn(self, path: Path, message: str) -> None:
        self._report.warning("/".join(path), message)

    def _node(self, raw: Any, path: Path, excluded: frozenset[str] = _NONE) -> Node:
        """Normalises one schema. `excluded`: members that a sibling branch of an allOf leaves out, so this one must not
        require them."""
        if raw is True:
            return {}
        if raw is False:
            return {"not": {}}
        if not is_object(raw):
            self._warn(path, "a schema must be an object; anything is accepted here")
            return {}
        if len(path) > _DEPTH_LIMIT:
            self._warn(path, "nested too deeply; anything is accepted here")
            return {}
        if isinstance(raw.get("$ref"), str):
            return self._reference(raw, path, excluded)
        return self._object(raw, path, excluded)

    def _reference(self, raw: JsonObject, path: Path, excluded: frozenset[str]) -> Node:
        written_siblings = {keyword: value for keyword, value in raw.items() if keyword != "$ref"}
        if not self._counts_siblings:  # before 3.1 only `$ref` counts, but authors mean their words
            written_siblings = {key: value for key, value in written_siblings.items() if key in _MEANT_SIBLINGS}
        siblings = self._object(written_siblings, path, excluded) if written_siblings else {}
        examples = [] if "examples" in self._dialect.omitted else keywords.short_examples(written_siblings, [])
        if examples and is_object(siblings):
            siblings = {**siblings, "examples": examples}
        try:
            pointer = self._references.end_of(raw["$ref"])
        except Unresolvable as problem:
            self._warn(path, f"{problem}; anything is accepted here")
            return siblings if is_object(siblings) else {}
        if written_siblings.get("nullable") is True:
            notes = {key: value for key, value in as_object(siblings).items() if key in ANNOTATIONS}
            return {"anyOf": [Reference(pointer), {"type": "null"}], **notes}
        return Reference(pointer, siblings if is_object(siblings) else {})

    def _object(self, raw: JsonObject, path: Path, excluded: frozenset[str]) -> Node:
        def warn(message: str) -> None:
            self._warn(path, message)

        if "allOf" in raw:
            excluded = excluded | self._excluded.anywhere_in(raw)
        schema: JsonObject = {}
        for keyword, value in raw.items():
            if keyword in self._dialect.omitted:
                continue
            normalised = self._keyword(raw, keyword, value, path, excluded)
            if normalised is None:
                continue
            if keyword == "oneOf" and self._dialect.has_overlapping_alternatives:
                schema.setdefault("anyOf", normalised)
            else:
                schema[keyword] = normalised
        if "description" in schema:
            schema.pop("title", None)  # says less
        types = types_of(raw, schema, warn)
        schema = with_types(raw, schema, types, self._dialect)
        schema = with_numeric_bounds(raw, schema, self._dialect, warn)
        schema = with_values(raw, with_words(raw, schema), types, self._dialect, warn)
        return without_lone_all_of(with_null(raw, schema, types))

    def _keyword(self, raw: JsonObject, keyword: str, value: Any, path: Path, excluded: frozenset[str]) -> Any:
        """The normalised value of a keyword; None: it is left out."""
        match keyword:
            case "title" | "description":
                return self._text(value, TITLE_LIMIT if keyword == "title" else self._dialect.text_limit, path)
            case "required":
                return self._required(value, path, excluded | self._excluded.members_of(raw))
            case "properties":
                return self._properties(value, path)
            case "additionalProperties" if isinstance(value, bool):
                return value if value or self._dialect.is_closed else None
            case "items":
                return self._items(value, path)
            case "allOf":
                return self._list(keyword, value, path, excluded)
            case _ if keyword in _SCHEMA_LISTS:
                return self._list(keyword, value, path, _NONE)
            case _ if keyword in _SCHEMA_MAPS:
                return self._map(keyword, value, path)
            case _ if keyword in _ONE_SCHEMA or keyword == "additionalProperties":
                return self._node(value, (*path, keyword))
            case _ if keyword in keywords.PLAIN:
                return self._plain(keyword, value, path)
            case _:
                return None

    # -- members

    def _properties(self, value: Any, path: Path) -> JsonObject | None:
        if not is_object(value):
            self._warn(path, "`properties` must be an object; ignored")
            return None
        return {
            name: self._node(schema, (*path, "properties", name))
            for name, schema in value.items()
            if not self._excluded.excludes(schema)
        }

    def _required(self, value: Any, path: Path, excluded: frozenset[str]) -> list[str] | None:
        if not is_array(value) and not isinstance(value, bool):  # `required: true` inside a member is an old habit
            self._warn(path, "`required` must be a list of names; ignored")
        return [name for name in dict.fromkeys(texts_in(value)) if name not in excluded] or None

    # -- subschemas

    def _list(self, keyword: str, value: Any, path: Path, excluded: frozenset[str]) -> list[Node] | None:
        nodes = [
            self._node(schema, (*path, keyword, str(position)), excluded)
            for position, schema in enumerate(as_array(value))
        ]
        if not nodes:
            self._warn(path, f"`{keyword}` must be a list of schemas; ignored")
        return nodes or None

    def _map(self, keyword: str, value: Any, path: Path) -> JsonObject | None:
        nodes: JsonObject = {}
        for name, schema in as_object(value).items():
            if keyword == "patternProperties" and not keywords.is_portable_pattern(name, is_name=True):
                self._warn(
                    path,
                    "a name in `patternProperties` is no regular expression for all clients, or too large; ignored",
                )
                continue
            nodes[name] = self._node(schema, (*path, keyword, name))
        return nodes or None

    def _items(self, value: Any, path: Path) -> Node:
        if not is_array(value):
            return self._node(value, (*path, "items"))
        self._warn(path, "`items` must be one schema; its list is read as alternatives")
        nodes = [self._node(schema, (*path, "items")) for schema in value]
        return {} if not nodes else nodes[0] if len(nodes) == 1 else {"anyOf": nodes}

    # -- plain keywords

    def _text(self, value: Any, limit: int, path: Path) -> str | None:
        if not isinstance(value, str):
            return None
        if (peculiar := peculiarity(value)) is not None:
            self._warn(path, peculiar)
        return line(value, limit) or None

    def _plain(self, keyword: str, value: Any, path: Path) -> Any:
        plain = keywords.PLAIN[keyword](value)
        if plain is None and keyword in keywords.NUMERIC:
            self._warn(path, keywords.not_usable(keyword))
        elif plain is None and keyword == "pattern":
            self._warn(path, "`pattern` is no regular expression for all clients, or too large; ignored")
        return plain
