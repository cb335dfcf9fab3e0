"""Rewrites references that JSON Schema resolves by names into JSON Pointers of the document: `$id`, `$anchor`,
`$dynamicAnchor` and `$dynamicRef` (JSON Schema 2020-12 core section 8), and `#/$defs/...` of a schema that was pasted
in with its definitions. Everything after the reader knows JSON Pointers alone.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from stoa.domain.schema.json_pointer import ABSENT, escape, resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object

INSTANCES = "x-stoa-instances"
"""The member that holds schemas whose `$dynamicRef`s lead to what their user defines."""
_MARKS = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef")
_NAMING = re.compile(r"""\$(?:id|anchor|dynamicAnchor|dynamicRef)["']?\s*:""")
_DATA = frozenset({"example", "examples", "default", "enum", "const"})
_LOCAL = ("$defs", "definitions")
"""Members in which a schema has its definitions; references there mean its own unless the document has some."""
_DEPTH_LIMIT = 400
_MOST_INSTANCES = 200


def resolve_names(root: JsonObject, texts: Sequence[str]) -> None:
    """Rewrites the references in `root`, in place. `texts`: of the files that it was read from."""
    definitions = [f"#/{member}/" for member in _LOCAL if member not in root]
    if any(_has_names(text) or any(mark in text for mark in definitions) for text in texts):
        _Resources(root).rewrite()


def _has_names(text: str) -> bool:
    return any(mark in text for mark in _MARKS) and _NAMING.search(text) is not None  # looking for marks is cheaper


@dataclass(frozen=True, slots=True)
class _Place:
    """A position in the document. `resource`: of the schema with an `$id` that it is in, and its URI."""

    tokens: tuple[str, ...]
    resource: tuple[str, ...]
    uri: str

    def below(self, *tokens: str) -> "_Place":
        return _Place((*self.tokens, *tokens), self.resource, self.uri)


class _Resources:
    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._resources: dict[str, tuple[str, ...]] = {}
        self._anchors: dict[tuple[str, str], tuple[str, ...]] = {}
        self._named: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        """The places of each anchor's name, whatever the resource."""
        self._short: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        """The resources by the last part of their URI: authors write it where they would have to write all."""
        self._objects = list(self._walked(root, _Place((), (), as_text(root.get("$self"))), 0))
        self._instances: JsonObject = {}

    def _walked(self, node: Any, place: _Place, depth: int) -> Iterator[tuple[JsonObject, _Place]]:
        if depth > _DEPTH_LIMIT:
            return
        if is_array(node):
            for position, entry in enumerate(node):
                yield from self._walked(entry, place.below(str(position)), depth + 1)
            return
        if not is_object(node):
            return
        place = self._named_place(node, place)
        yield node, place
        for key, member in node.items():
            if key not in _DATA or is_object(member):
                yield from self._walked(member, place.below(key), depth + 1)

    def _named_place(self, node: JsonObject, place: _Place) -> _Place:
        """Notes the names of an object; returns its place, in the resource that it is."""
        identifier = node.get("$id")
        if isinstance(identifier, str) and identifier and place.tokens:
            uri, _, anchor = identifier.partition("#")
            if anchor:  # `$id: "#name"` is what `$anchor` was before 2019
                self._name(anchor, place)
            if uri:
                place = _Place(place.tokens, place.tokens, urljoin(place.uri, uri))
                self._resources.setdefault(place.uri, place.tokens)
                self._short[place.uri.rpartition("/")[2]].append(place.tokens)
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(keyword), str):
                self._name(node[keyword], place)
        return place

    def _name(self, anchor: str, place: _Place) -> None:
        self._anchors.setdefault((place.uri, anchor), place.tokens)
        self._named[anchor].append(place.tokens)

    def rewrite(self) -> None:
        for node, place in self._objects:
            if isinstance(node.get("$ref"), str):
                target = self._target(node["$ref"], place)
                if target is not None:
                    node["$ref"] = target
        for node, _ in self._objects:
            self._bind(node)
        for node, place in self._objects:
            dynamic = node.get("$dynamicRef")
            if isinstance(dynamic, str) and "$ref" not in node:
                node["$ref"] = self._target(dynamic, place) or dynamic
        if self._instances:
            self._root[INSTANCES] = {**as_object(self._root.get(INSTANCES)), **self._instances}

    def _target(self, reference: str, place: _Place) -> str | None:
        """The reference as a JSON Pointer into the document; None if it is one, or leads to nothing known."""
        file, _, fragment = reference.partition("#")
        resource, uri = place.resource, place.uri
        if file:
            uri = urljoin(place.uri, file)
            known = self._resources.get(uri) or self._only(self._short[file.rpartition("/")[2]])
            if known is None:
                return None
            resource = known
        if fragment and not fragment.startswith("/"):
            named = self._anchors.get((uri, fragment)) or self._only(self._named[fragment])
            return None if named is None else _pointer(named)
        tokens = tokens_of_fragment(fragment) if fragment.strip("/") else []
        if resource and resolve(self._root, [*resource, *tokens]) is not ABSENT:
            return _pointer((*resource, *tokens))
        if tokens and tokens[0] in _LOCAL and resolve(self._root, tokens) is ABSENT:
            return self._around(place.tokens, tokens)
        return None

    def _around(self, tokens: tuple[str, ...], wanted: list[str]) -> str | None:
        """The nearest schema around `tokens` that has these definitions itself."""
        for length in range(len(tokens), 0, -1):
            if resolve(self._root, [*tokens[:length], *wanted]) is not ABSENT:
                return _pointer((*tokens[:length], *wanted))
        return None

    @staticmethod
    def _only(places: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
        return places[0] if len(places) == 1 else None

    # -- dynamic references

    def _bind(self, node: JsonObject) -> None:
        """Lets a schema that refers to a generic one (`$dynamicRef` within it) have one of its own, in which these
        references lead to what the schema defines by the same name."""
        own = {
            anchor: _pointer(self._named_at(definition))
            for definition in as_object(node.get("$defs")).values()
            if isinstance(anchor := as_object(definition).get("$dynamicAnchor"), str)
        }
        for part in (node, *as_array(node.get("allOf"))) if own else ():
            if is_object(part) and isinstance(part.get("$ref"), str):
                part["$ref"] = self._instance(part["$ref"], own, 0)

    def _named_at(self, definition: JsonObject) -> tuple[str, ...]:
        return next(place.tokens for node, place in self._objects if node is definition)

    def _instance(self, reference: str, own: dict[str, str], depth: int) -> str:
        """A copy of what `reference` leads to with its dynamic references replaced; the reference itself if there are
        none."""
        target = resolve(self._root, tokens_of_fragment(reference[1:])) if reference.startswith("#/") else ABSENT
        if not is_object(target) or depth > 3 or len(self._instances) >= _MOST_INSTANCES or not _uses(target, own, 0):
            return reference
        key = f"{tokens_of_fragment(reference[1:])[-1]}.{len(self._instances) + 1}"
        self._instances[key] = {}  # the name is taken; what refers to itself below is not made again
        self._instances[key] = self._copied(target, own, depth)
        return _pointer((INSTANCES, key))

    def _copied(self, value: Any, own: dict[str, str], depth: int) -> Any:
        if is_array(value):
            return [self._copied(entry, own, depth) for entry in value]
        if not is_object(value):
            return value
        copy = {key: self._copied(member, own, depth) for key, member in value.items()}
        dynamic = value.get("$dynamicRef")
        if isinstance(dynamic, str) and (target := own.get(dynamic.partition("#")[2])):
            copy["$ref"] = target
            del copy["$dynamicRef"]
        elif isinstance(value.get("$ref"), str):
            copy["$ref"] = self._instance(value["$ref"], own, depth + 1)
        return copy


def _uses(value: Any, anchors: dict[str, str], depth: int) -> bool:
    """True if a schema has a dynamic reference by one of these names in itself."""
    if depth > _DEPTH_LIMIT:
        return False
    if is_array(value):
        return any(_uses(entry, anchors, depth + 1) for entry in value)
    if not is_object(value):
        return False
    dynamic = value.get("$dynamicRef")
    if isinstance(dynamic, str) and dynamic.partition("#")[2] in anchors:
        return True
    return any(_uses(member, anchors, depth + 1) for member in value.values())


def _pointer(tokens: Sequence[str]) -> str:
    return "#" + "".join(f"/{escape(token)}" for token in tokens)
