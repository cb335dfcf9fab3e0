"""Where JSON Schema has schemas within schemas (2020-12 core sections 8 and 10), and what references lead to."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from stoa.domain.schema.json_value import JsonObject, is_array, is_object

_SINGLE_IN_PLACE = ("not", "if", "then", "else")
_SINGLE_BELOW = (
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
)
_LISTS_IN_PLACE = ("allOf", "anyOf", "oneOf")
_LISTS_BELOW = ("prefixItems", "items")
_MAPS_IN_PLACE = ("dependentSchemas", "dependencies")
_MAPS_BELOW = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")

SINGLE = frozenset(_SINGLE_IN_PLACE + _SINGLE_BELOW)
LISTS = frozenset(_LISTS_IN_PLACE + _LISTS_BELOW)
MAPS = frozenset(_MAPS_IN_PLACE + _MAPS_BELOW + _DEFINITIONS)
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

Place = Literal["here", "below", "defined"]
"""What a subschema is applied to: the same value, something in it, or nothing by itself."""


class Subschema(NamedTuple):
    keyword: str
    key: str | int | None
    """Name or position below the keyword; None: the keyword's value is the schema."""
    schema: JsonObject | bool
    place: Place


def subschemas(schema: JsonObject) -> Iterator[Subschema]:
    """Those right in `schema`, without what it refers to."""
    for keyword, value in schema.items():
        if keyword in SINGLE and _is_schema(value):
            yield Subschema(keyword, None, value, "here" if keyword in _SINGLE_IN_PLACE else "below")
        elif keyword in LISTS and is_array(value):
            place: Place = "here" if keyword in _LISTS_IN_PLACE else "below"
            for position, one in enumerate(value):
                if _is_schema(one):
                    yield Subschema(keyword, position, one, place)
        elif keyword in MAPS and is_object(value):
            place = "defined" if keyword in _DEFINITIONS else "here" if keyword in _MAPS_IN_PLACE else "below"
            for name, one in value.items():
                if _is_schema(one):
                    yield Subschema(keyword, name, one, place)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


class Document:
    """A schema as a document that refers to itself: what references lead to (RFC 6901, 2020-12 core section 8.2)."""

    def __init__(self, root: JsonObject) -> None:
        self.root = root
        self._bases: dict[int, str] = {}
        self._resources: dict[str, JsonObject] = {"": root}
        name = "id" if "draft-04" in str(root.get("$schema")) else "$id"
        waiting: list[tuple[Any, str]] = [(root, "")]
        while waiting:
            node, base = waiting.pop()
            if is_array(node):
                waiting += [(one, base) for one in node]
            elif is_object(node):
                own = node.get(name)
                if isinstance(own, str) and not own.startswith("#"):
                    base = _joined(base, own)[0]
                    self._resources[base] = node
                self._bases[id(node)] = base
                waiting += [(one, base) for one in node.values()]

    def parts(self, schema: JsonObject, reference: str) -> tuple[JsonObject, list[str]] | None:
        """Where the pointer in a reference of `schema` begins, and its tokens; None: it is no pointer into this."""
        base, fragment = _joined(self._bases.get(id(schema), ""), reference)
        start = self._resources.get(base)
        if start is None or (fragment and not fragment.startswith("/")):
            return None
        return start, [unquote(part).replace("~1", "/").replace("~0", "~") for part in fragment.split("/")[1:]]

    def target(self, schema: JsonObject, reference: str) -> Any:
        """What it leads to, or None."""
        found = self.parts(schema, reference)
        if found is None:
            return None
        node: Any = found[0]
        for token in found[1]:
            node = below(node, token)
        return node

    def referred(self, schema: JsonObject) -> JsonObject | bool | None:
        """What `$ref` of `schema` leads to; None without one, or when it is no pointer."""
        reference = schema.get("$ref")
        found = self.target(schema, reference) if isinstance(reference, str) else None
        return found if _is_schema(found) else None


def _joined(base: str, reference: str) -> tuple[str, str]:
    url, fragment = urldefrag(urljoin(base, reference))
    return url, fragment


def below(node: Any, token: str) -> Any:
    """What one token of a pointer leads to, or None."""
    if is_object(node):
        return node.get(token)
    if is_array(node) and token.isdecimal() and len(token) < 10 and int(token) < len(node):
        return node[int(token)]
    return None


def is_simple(root: JsonObject) -> bool:
    """Is checking a value against it linear in the value, with a small factor? Then no steps need be counted.

    So it is when no schema leads back to itself, few are applied to the same place, and no name is matched.
    """
    try:
        return _Applied(root).most(root) <= _FEW
    except (_ManyError, RecursionError, ValueError):
        return False


_FEW = 8
_COMPARED_AT_ONCE = 4
"""Members of an `enum` that are no scalars, each compared in turn, and cost as much as one schema."""


class _ManyError(Exception):
    pass


class _Applied:
    """Counts how many schemas may be applied to one place of a value, at most."""

    def __init__(self, root: JsonObject) -> None:
        self._document = Document(root)
        self._known: dict[int, int] = {}
        self._open: set[int] = set()

    def most(self, schema: Any) -> int:
        if not is_object(schema):
            return 1
        known = self._known.get(id(schema))
        if known is not None:
            return known
        if id(schema) in self._open:
            raise _ManyError
        self._open.add(id(schema))
        here = self._here(schema, [])
        found = max(sum(1 + _compared(one) for one in here), sum(self._below(one) for one in here))
        self._open.discard(id(schema))
        if found > _FEW:
            raise _ManyError
        self._known[id(schema)] = found
        return found

    def _here(self, schema: JsonObject, into: list[JsonObject]) -> list[JsonObject]:
        """`schema` and all that is applied to the same value with it, as often as it is."""
        if "patternProperties" in schema or "$dynamicRef" in schema or "$recursiveRef" in schema:
            raise _ManyError
        into.append(schema)
        if len(into) > _FEW:
            raise _ManyError
        if "$ref" in schema:
            target = self._document.referred(schema)
            if target is None:
                raise _ManyError
            if is_object(target):
                self._here(target, into)
        for one in subschemas(schema):
            if one.place == "here" and is_object(one.schema):
                self._here(one.schema, into)
        return into

    def _below(self, schema: JsonObject) -> int:
        named, others = 0, 0
        for one in subschemas(schema):
            if one.place != "below":
                continue
            if one.keyword in {"properties", "prefixItems"} or isinstance(one.key, int):
                named = max(named, self.most(one.schema))
            else:
                others += self.most(one.schema)
        return named + others


def _compared(schema: JsonObject) -> int:
    options = schema.get("enum")
    many = sum(1 for one in options if isinstance(one, (dict, list))) if is_array(options) else 0
    return many // _COMPARED_AT_ONCE
