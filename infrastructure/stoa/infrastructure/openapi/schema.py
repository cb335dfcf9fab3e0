"""Normalises Schema Objects of any OpenAPI version to JSON Schema 2020-12, each named component once.

Nothing here follows a reference into its target's schema, so that circular documents cost nothing: it becomes a
`Reference`, and `bundle` decides later which of them are written out in place and which go to `$defs`.
"""

from collections.abc import Callable
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object, texts_in
from stoa.infrastructure.openapi import keywords
from stoa.infrastructure.openapi.alternatives import closed_over_parts, tagged
from stoa.infrastructure.openapi.closed_schemas import ClosedSchemas
from stoa.infrastructure.openapi.combined_keywords import (
    types_of,
    with_null,
    with_null_alternatives,
    with_numeric_bounds,
    with_types,
    with_values,
    without_lone_all_of,
)
from stoa.infrastructure.openapi.contradictions import without_contradictions
from stoa.infrastructure.openapi.dialect import Dialect
from stoa.infrastructure.openapi.direction import ExcludedMembers
from stoa.infrastructure.openapi.discriminators import Discriminator, Discriminators
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference, described_node, description_of
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.report import Report
from stoa.infrastructure.openapi.text import TITLE_LIMIT, VALUES_MARK, line, peculiarity, value_peculiarity
from stoa.infrastructure.openapi.words import WORD_KEYWORDS, with_marked_values, with_words

_DEPTH_LIMIT = 60
"""Steps of a path within one component; two per member."""
_MOST_SUBTYPES = 64
"""Upper bound on the subtypes that are written out where their parent is used."""
_ONE_SCHEMA = frozenset({"if", "then", "else", "not", "contains", "propertyNames", "contentSchema"}) | {
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
}
_CHOOSING = frozenset({"oneOf", "anyOf", "discriminator"})
_JOINING = frozenset({"allOf", "anyOf", "oneOf"})
_CLOSING = frozenset({"additionalProperties", "unevaluatedProperties"})
_NAMING = frozenset({"title", "description"})
_PART_OF_COMPONENT = 3
"""Steps of the path of a branch of a component's `allOf`."""
VARIANT = "\0"
"""Separates the pointer of a component from the name of what is made from it."""
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
        self._discriminators = Discriminators(document, references)
        self._closed = ClosedSchemas(references)
        self._components: dict[str, Node] = {}
        self._variants: dict[str, Callable[[], Node]] = {}

    def component(self, pointer: str) -> Node:
        """The normalised schema behind a Reference."""
        node = self._components.get(pointer)
        if node is None:
            self._components[pointer] = {}  # what is defined by itself alone says nothing
            variant = self._variants.get(pointer)
            node = self._components[pointer] = self._component(pointer) if variant is None else variant()
        return node

    def _component(self, pointer: str) -> Node:
        raw = self._references.target(pointer)
        discriminator = self._hierarchy_of(pointer, raw)
        if discriminator is None:
            return self._node(raw, (pointer,))
        return self._with_subtypes(pointer, as_object(raw), discriminator)

    def _variant(self, pointer: str, variant: str, make: Callable[[], Node]) -> Reference:
        """A reference to a component that is made from another when it is needed: not before, as it looks into what it
        refers to."""
        key = f"{pointer}{VARIANT}{variant}"
        self._variants.setdefault(key, make)
        return Reference(key)

    # -- hierarchies

    def _hierarchy_of(self, pointer: str, raw: Any) -> Discriminator | None:
        """The discriminator of a component that other components extend, unless it lists them itself."""
        if not is_object(raw) or "oneOf" in raw or "anyOf" in raw:
            return None
        canonical = self._discriminators.pointer_of(pointer)
        return None if canonical is None else self._discriminators.hierarchy(canonical)

    def _with_subtypes(self, pointer: str, raw: JsonObject, discriminator: Discriminator) -> Node:
        """The alternatives that a value of a parent may be: the parent itself, if a value selects it, and its
        subtypes."""
        members = self._discriminators.members(pointer, discriminator)
        if not members:
            return self._node(raw, (pointer,))
        own = self._own_part(pointer)
        if len(members) > _MOST_SUBTYPES:
            self._warn((pointer,), f"has {len(members)} subtypes; their members are accepted and not described")
            return own
        alternatives = [
            self._tagged(self._alternative(pointer, member, discriminator), member, discriminator.name, values)
            for member, values in members.items()
        ]
        if len(alternatives) == 1:
            return alternatives[0]
        notes = {key: value for key, value in as_object(self.component(own.pointer)).items() if key in _NAMING}
        return {"anyOf": alternatives, **notes}

    def _alternative(self, parent: str, member: str, discriminator: Discriminator) -> Reference:
        """A subtype: without its own subtypes, unless it tells them apart itself."""
        is_parent = member != parent and self._discriminators.is_parent_by_another(member, discriminator)
        return Reference(member) if is_parent else self._own_part(member)

    def _own_part(self, pointer: str) -> Reference:
        """A component without the alternatives that its subtypes are."""
        raw = self._references.target(pointer)

        def make() -> Node:
            own = {key: value for key, value in as_object(raw).items() if key not in _CHOOSING}
            return self._node(own if is_object(raw) else raw, (pointer,))

        return self._variant(pointer, "own", make)

    def _tagged(self, node: Reference, pointer: str, name: str, values: list[str]) -> Reference:
        return self._variant(pointer, f"{name}={values}", lambda: tagged(node, name, values, self))

    def _branches(self, raw: JsonObject, keyword: str, nodes: list[Node]) -> list[Node]:
        """Alternatives whose property has the values that a discriminator selects them by."""
        discriminator = self._discriminators.of(raw)
        if discriminator is None:
            return nodes
        references = [as_object(branch).get("$ref") for branch in as_array(raw[keyword])]
        tags = self._discriminators.tags(references, discriminator)
        return [
            self._tagged(node, node.pointer, discriminator.name, values)
            if values and isinstance(node, Reference) and not node.siblings
            else node
            for node, values in zip(nodes, tags, strict=True)
        ]

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
        if len(path) == _PART_OF_COMPONENT and path[1] == "allOf" and self._is_own_part(path[0], pointer):
            pointer = self._own_part(pointer).pointer
        if written_siblings.get("nullable") is True:
            notes = {key: value for key, value in as_object(siblings).items() if key in ANNOTATIONS}
            return {"anyOf": [Reference(pointer), {"type": "null"}], **notes}
        reference = Reference(pointer, siblings if is_object(siblings) else {})
        if self._dialect.is_closed and not _CLOSING.isdisjoint(reference.siblings):
            return self._closed_over_parts({"allOf": [Reference(pointer), reference.siblings]}, path)
        return reference

    def _is_own_part(self, subtype: str, parent: str) -> bool:
        pointers = self._discriminators.pointer_of(subtype), self._discriminators.pointer_of(parent)
        return None not in pointers and self._discriminators.is_own_part(pointers[0] or "", pointers[1] or "")

    def _closed_over_parts(self, node: Node, path: Path) -> Reference:
        return self._variant("/".join(path), "closed", lambda: closed_over_parts(node, self))

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
            _add(schema, raw, keyword, normalised)
        if "description" in schema:
            schema.pop("title", None)  # says less
        types = types_of(raw, schema, warn)
        schema = with_types(raw, schema, types, self._dialect)
        schema = with_numeric_bounds(raw, schema, self._dialect, warn)
        schema = without_contradictions(with_values(raw, with_words(raw, schema), types, self._dialect, warn), warn)
        schema = with_marked_values(schema, warn)
        node = without_lone_all_of(with_null(raw, schema, types))
        if self._dialect.is_closed and not _JOINING.isdisjoint(raw) and self._closed.has_closed_parts(raw):
            return self._closed_over_parts(node, path)
        return node

    def _keyword(self, raw: JsonObject, keyword: str, value: Any, path: Path, excluded: frozenset[str]) -> Any:
        """The normalised value of a keyword; None: it is left out."""
        match keyword:
            case "title" | "description":
                return self._text(value, TITLE_LIMIT if keyword == "title" else self._dialect.text_limit, path)
            case "required":
                return self._required(value, path, excluded | self._excluded.members_of(raw))
            case "properties":
                return self._properties(value, path)
            case "additionalProperties" | "unevaluatedProperties" if isinstance(value, bool):
                return value if value or self._dialect.is_closed else None
            case "items":
                return self._items(value, path)
            case "allOf":
                return self._list(keyword, value, path, excluded)
            case "anyOf" | "oneOf":
                nodes = self._list(keyword, with_null_alternatives(value), path, _NONE)
                return None if nodes is None else self._branches(raw, keyword, nodes)
            case "prefixItems":
                return self._list(keyword, value, path, _NONE)
            case _ if keyword in _SCHEMA_MAPS:
                return self._map(keyword, value, path)
            case _ if keyword in _ONE_SCHEMA:
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
            name: self._member(name, schema, (*path, "properties", name))
            for name, schema in value.items()
            if not self._excluded.excludes(schema)
        }

    def _member(self, name: str, raw: Any, path: Path) -> Node:
        node = self._node(raw, path)
        if (problem := value_peculiarity(name)) is None:
            return node
        self._warn(path, f"the name of a member is marked as the API's own: {problem}")
        return described_node(node, f"{description_of(node)} {VALUES_MARK}".strip())

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
            usable = keywords.portable_pattern(name, is_name=True) if keyword == "patternProperties" else name
            if usable is None:
                self._warn(
                    path,
                    "a name in `patternProperties` is no regular expression for all clients, or too large; ignored",
                )
                continue
            nodes[usable] = self._node(schema, (*path, keyword, name))
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


def _add(schema: JsonObject, raw: JsonObject, keyword: str, normalised: Any) -> None:
    """Adds a keyword. `oneOf` becomes `anyOf`: the alternatives of real descriptions overlap, and a value that fits two
    of them is meant for one."""
    if keyword == "oneOf" and "anyOf" in raw:
        keyword, normalised = "allOf", [{"anyOf": normalised}]
    if keyword == "allOf":
        normalised = [*schema.get("allOf", ()), *normalised]
    schema["anyOf" if keyword == "oneOf" else keyword] = normalised
