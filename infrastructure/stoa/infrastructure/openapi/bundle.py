"""Bundles normalised schemas into one self-contained schema: References written out in place while that stays small
(many clients do not resolve `$ref`), otherwise under `$defs`. Recursive components always go there.

Results share their parts: a finished schema is never changed.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stoa.domain.operations.naming import NumberedNames, shortened
from stoa.domain.schema.inlining import SIZE_LIMIT
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.subschemas import IN_PLACE, parts, with_subschemas
from stoa.infrastructure.openapi.cycles import strong_components
from stoa.infrastructure.openapi.joined_files import own_name
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference
from stoa.infrastructure.openapi.object_members import can_mix, mixed
from stoa.infrastructure.openapi.schema import VARIANT, SchemaNormaliser
from stoa.infrastructure.openapi.text import cut

DEFS_LIMIT = 192 * 1024
"""Characters of `$defs`; components beyond it accept anything."""
_DEPTH_LIMIT = 120
"""Levels of JSON up to which references inside references are written out."""
_BRIEF = 120
"""Characters of a description in a schema that does not fit the budget."""
_LEAF_SIZE = 120
_REFERENCE_SIZE = 40
_UNBOUNDED = 1 << 40
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.-]+")
_TOO_LARGE: JsonObject = {"description": "Not described here: too large."}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Self-contained schemas: they refer only to `definitions`."""

    schemas: dict[str, JsonObject]
    definitions: JsonObject
    size: int
    is_complete: bool
    """False: some definitions were too large."""


@dataclass(slots=True)
class _Facts:
    """Size, depth and recursion of a component, complete once its cycle is known."""

    uses: Counter[str]
    own_size: int
    own_depth: int
    is_recursive: bool = False
    is_hollow: bool = False
    """True if it is defined as itself (`A: {allOf: [A]}`), which says nothing and sends validators into an endless
    loop."""
    size: int = 0
    """Size with all references written out except recursive ones; likewise `depth`."""
    depth: int = 0


class Bundler:
    def __init__(self, normaliser: SchemaNormaliser) -> None:
        self._normaliser = normaliser
        self._facts: dict[str, _Facts] = {}
        self._names: dict[str, str] = {}
        self._numbered = NumberedNames(64)
        self._written_out = _Writer(self, self.is_recursive)
        self._referring = _Writer(self, lambda pointer: not self._is_leaf(pointer), is_brief=True)

    def is_recursive(self, pointer: str) -> bool:
        return self._facts[pointer].is_recursive

    def body(self, pointer: str) -> Node:
        """The schema of a component; an empty one if it is defined only by itself."""
        return {} if self._facts[pointer].is_hollow else self._normaliser.component(pointer)

    def bundle(self, nodes: Mapping[str, Node]) -> Bundle:
        uses: Counter[str] = Counter()
        size = sum(len(name) + 6 + _measure(node, uses) for name, node in nodes.items())
        for pointer in uses:
            self._analyse(pointer)
        reachable = self._reachable(uses)
        recursive = [pointer for pointer in reachable if self.is_recursive(pointer)]
        size += sum(self._size_in_place(pointer) * times for pointer, times in uses.items())
        size += sum(self._facts[pointer].size for pointer in recursive)
        depth = max((self._facts[pointer].depth for pointer in reachable), default=0)
        if size > SIZE_LIMIT or depth > _DEPTH_LIMIT:
            return self._with_definitions(nodes)
        definitions = {self.name_of(pointer): self._written_out.body(pointer) for pointer in recursive}
        return Bundle({name: self._written_out.node(node) for name, node in nodes.items()}, definitions, size, True)

    def _with_definitions(self, nodes: Mapping[str, Node]) -> Bundle:
        """Writes each member of the root out one level deep, so that its type is seen at once; deeper levels use
        references."""
        size = 0
        uses: Counter[str] = Counter()
        for name, node in nodes.items():
            size += len(name) + 6 + _measure(node, uses)
            if isinstance(node, Reference):
                uses += self._facts[node.pointer].uses
                uses[node.pointer] -= 1
                size += self._referring.size(node.pointer)
        definitions: JsonObject = {}
        is_complete = True
        queue = deque(pointer for pointer, times in uses.items() if times > 0)
        while queue:
            pointer = queue.popleft()
            name = self.name_of(pointer)
            if name in definitions or self._is_leaf(pointer):
                continue
            if size + self._referring.size(pointer) > DEFS_LIMIT:
                definitions[name] = _TOO_LARGE
                is_complete = False
                continue
            size += self._referring.size(pointer)
            definitions[name] = self._referring.body(pointer)
            queue.extend(self._facts[pointer].uses)
        schemas = {name: self._referring.root(node) for name, node in nodes.items()}
        return Bundle(schemas, definitions, size, is_complete)

    def name_of(self, pointer: str) -> str:
        """A `$defs` key that is the component's own name where that is free."""
        name = self._names.get(pointer)
        if name is None:
            own = _ILLEGAL.sub("_", own_name(pointer.partition(VARIANT)[0])) or "Schema"
            name = own if len(own) <= 64 else shortened(own, pointer, 64)
            if not self._numbered.take(name):
                name = self._numbered.next(own[:56])
            self._names[pointer] = name
        return name

    def _reachable(self, start: Iterable[str]) -> list[str]:
        reachable = dict.fromkeys(start)
        queue = deque(reachable)
        while queue:
            for pointer in self._facts[queue.popleft()].uses:
                if pointer not in reachable:
                    reachable[pointer] = None
                    queue.append(pointer)
        return list(reachable)

    def _is_leaf(self, pointer: str) -> bool:
        facts = self._facts[pointer]
        return not facts.uses and facts.own_size <= _LEAF_SIZE

    def _size_in_place(self, pointer: str) -> int:
        facts = self._facts[pointer]
        return _REFERENCE_SIZE if facts.is_recursive else facts.size

    def _read(self, pointer: str) -> _Facts:
        uses: Counter[str] = Counter()
        schema = self._normaliser.component(pointer)
        facts = _Facts(uses, _measure(schema, uses), _depth(schema))
        self._facts[pointer] = facts
        return facts

    def _analyse(self, start: str) -> None:
        """Cycles come out after everything that they use."""
        if start not in self._facts:
            for cycle in strong_components(start, lambda pointer: self._read(pointer).uses, self._facts):
                self._conclude(cycle)

    def _conclude(self, cycle: list[str]) -> None:
        members = [self._facts[pointer] for pointer in cycle]
        is_recursive = len(cycle) > 1 or cycle[0] in members[0].uses
        for facts in members:
            facts.is_recursive = is_recursive
        if is_recursive:
            self._mark_hollow(cycle)
        for facts in members:
            inner = sum(self._size_in_place(pointer) * times for pointer, times in facts.uses.items())
            facts.size = min(facts.own_size + inner, _UNBOUNDED)
            below = (self._facts[pointer] for pointer in facts.uses)
            facts.depth = facts.own_depth + max((other.depth for other in below if not other.is_recursive), default=0)

    def _mark_hollow(self, cycle: list[str]) -> None:
        """Marks the members of a cycle that reach themselves without passing a property or an item."""
        members = set(cycle)
        in_place = {pointer: set(_in_place(self._normaliser.component(pointer))) & members for pointer in cycle}
        seen: set[str] = set()
        for start in cycle:
            if start in seen:
                continue
            for inner in strong_components(start, in_place.__getitem__, seen):
                seen.update(inner)
                for pointer in inner:
                    self._facts[pointer].is_hollow = len(inner) > 1 or pointer in in_place[pointer]


class _Writer:
    """Writes nodes as plain JSON; `keeps` decides which references stay references. `is_brief` shortens descriptions,
    for large schemas."""

    def __init__(self, bundler: Bundler, keeps: Callable[[str], bool], *, is_brief: bool = False) -> None:
        self._bundler = bundler
        self._keeps = keeps
        self._is_brief = is_brief
        self._bodies: dict[str, JsonObject] = {}
        self._sizes: dict[str, int] = {}

    def body(self, pointer: str) -> JsonObject:
        """The component itself, written out once."""
        body = self._bodies.get(pointer)
        if body is None:
            body = self._bodies[pointer] = self.node(self._bundler.body(pointer))
        return body

    def size(self, pointer: str) -> int:
        """About the length of the body's JSON text."""
        if pointer not in self._sizes:
            self._sizes[pointer] = _measure(self.body(pointer), None)
        return self._sizes[pointer]

    def root(self, node: Node) -> JsonObject:
        """Like `node`, but a reference at the top is written out in any case, and its description is kept."""
        if isinstance(node, Reference):
            return _merged(self.body(node.pointer), {**self.node(node.siblings), **_only_description(node.siblings)})
        return {**self.node(node), **_only_description(node)}

    def node(self, node: Node) -> JsonObject:
        if isinstance(node, Reference):
            siblings = self.node(node.siblings) if node.siblings else {}
            if self._keeps(node.pointer):
                return {"$ref": f"#/$defs/{self._bundler.name_of(node.pointer)}", **siblings}
            return _merged(self.body(node.pointer), siblings)
        return {key: self._member(key, value) for key, value in node.items()}

    def _member(self, keyword: str, value: Any) -> Any:
        if keyword == "description" and self._is_brief and isinstance(value, str):
            return cut(value, _BRIEF)
        return with_subschemas(keyword, value, self._part)

    def _part(self, value: Any) -> Any:
        return self.node(value) if is_object(value) or isinstance(value, Reference) else value


def _only_description(node: JsonObject) -> JsonObject:
    return {"description": node["description"]} if "description" in node else {}


def _merged(target: JsonObject, siblings: JsonObject) -> JsonObject:
    if not siblings:
        return target
    if "$ref" not in target and (siblings.keys() <= ANNOTATIONS or can_mix(target, siblings)):
        return mixed(target, siblings)
    # Beside the target and not in a branch of their own: `unevaluatedProperties` counts the members of both.
    branches = [target, *siblings.get("allOf", ())]
    return {"allOf": branches, **{key: value for key, value in siblings.items() if key != "allOf"}}


def _measure(value: Any, uses: Counter[str] | None) -> int:
    """About the length of the JSON text; counts the references on the way."""
    if isinstance(value, str):
        return len(value) + 2
    if is_object(value):
        return 2 + sum(len(key) + 4 + _measure(member, uses) for key, member in value.items())
    if is_array(value):
        return 2 + sum(1 + _measure(member, uses) for member in value)
    if isinstance(value, Reference):
        if uses is not None:
            uses[value.pointer] += 1
        return _measure(value.siblings, uses)
    return 5


def _depth(value: Any) -> int:
    if is_object(value):
        return 1 + max((_depth(member) for member in value.values()), default=0)
    if is_array(value):
        return 1 + max((_depth(member) for member in value), default=0)
    return 1 + _depth(value.siblings) if isinstance(value, Reference) else 0


def _in_place(node: Any) -> Iterator[str]:
    """References that apply to the very value that the node describes."""
    if isinstance(node, Reference):
        yield node.pointer
        node = node.siblings
    for keyword, value in as_object(node).items():
        if keyword in IN_PLACE:
            for _, branch in parts(keyword, value):
                yield from _in_place(branch)
