"""Discriminators (OpenAPI 3.1 section 4.8.25; 2.0 "Schema Object"): which schema of a hierarchy, or of alternatives, a
value is meant for, by the value of one property.

A hierarchy is written from below: each subtype names its parent in `allOf`. It is found by one walk over the
components, the first time that a discriminator is met.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from stoa.domain.schema.json_pointer import escape, unescape
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.references import References, Unresolvable

_DEPTH = 12
"""Schemas joined by `allOf` and `$ref` that are searched for a property."""
_ADDS_NOTHING = frozenset({"allOf", "type", "title", "description", "example", "examples", "required", "deprecated"})


class Discriminator(NamedTuple):
    """`mapping`: values of the property, and the schemas that they select."""

    name: str
    mapping: dict[str, str]


class Discriminators:
    """The discriminators of one document, by the pointers of its components."""

    def __init__(self, document: ApiDocument, references: References) -> None:
        self._references = references
        if document.is_swagger:
            self._place, self._schemas = "#/definitions/", as_object(document.root.get("definitions"))
        else:
            components = as_object(document.root.get("components"))
            self._place, self._schemas = "#/components/schemas/", as_object(components.get("schemas"))
        self._pointers = {id(schema): f"{self._place}{escape(name)}" for name, schema in self._schemas.items()}
        self._children: dict[str, list[str]] | None = None

    def of(self, raw: JsonObject) -> Discriminator | None:
        """The discriminator that a schema declares itself."""
        if "discriminator" not in raw:
            return None
        declared = raw["discriminator"]
        if isinstance(declared, str) and declared:
            return Discriminator(declared, {})
        name = as_object(declared).get("propertyName")
        if not isinstance(name, str) or not name:
            return None
        mapping: dict[str, str] = {}
        for value, target in as_object(as_object(declared).get("mapping")).items():
            pointer = self._mapped(target)
            if pointer is not None:
                mapping[value] = pointer
        return Discriminator(name, mapping)

    def pointer_of(self, reference: Any) -> str | None:
        """The one pointer of the component that a reference leads to, however it is written; None: to no component."""
        if not isinstance(reference, str):
            return None
        try:
            return self._pointers.get(id(self._references.target(self._references.end_of(reference))))
        except Unresolvable:
            return None

    def inherited(self, pointer: str) -> Discriminator | None:
        """The discriminator of a component, or of the parent that it has it from."""
        seen, waiting = {pointer}, [pointer]
        while waiting and len(seen) <= _DEPTH:
            raw = as_object(self._references.target(waiting.pop(0)))
            own = self.of(raw)
            if own is not None:
                return own
            parents = [parent for parent in self._parents(raw) if parent not in seen]
            seen.update(parents)
            waiting += parents
        return None

    def hierarchy(self, pointer: str) -> Discriminator | None:
        """The discriminator that tells the subtypes of a component apart, if it has any."""
        declared = self.inherited(pointer)
        if declared is None or not (self.subtypes(pointer) or declared.mapping):
            return None
        own = self.of(as_object(self._references.target(pointer)))
        if own is not None:
            return own
        below = {pointer, *self.subtypes(pointer)}
        mapping = {value: target for value, target in declared.mapping.items() if target in below}
        return Discriminator(declared.name, mapping) if len(below) > 1 else None

    def subtypes(self, pointer: str) -> list[str]:
        """The components below a component, at any depth, in the order of their distance."""
        if self._children is None:
            self._children = {}
            for schema in self._schemas.values():
                for parent in dict.fromkeys(self._parents(schema)):
                    self._children.setdefault(parent, []).append(self._pointers[id(schema)])
        below: dict[str, None] = {}
        waiting = list(self._children.get(pointer, ()))
        while waiting:
            child = waiting.pop(0)
            if child not in below and child != pointer:
                below[child] = None
                waiting += self._children.get(child, ())
        return list(below)

    def members(self, pointer: str, discriminator: Discriminator) -> dict[str, list[str]]:
        """The component and its subtypes, each with its values of the property. Empty if it has no subtypes."""
        elsewhere = self._told_apart_below(pointer, discriminator)
        below = [
            child
            for child in self.subtypes(pointer)
            if child in discriminator.mapping.values()
            or (child not in elsewhere and (not discriminator.mapping or self._adds_something(child)))
        ]
        below += [mapped for mapped in discriminator.mapping.values() if mapped != pointer and mapped not in below]
        if not below:
            return {}
        listed = self.fixed(self._references.target(pointer), discriminator.name)
        tagged = {
            child: self._values(child, discriminator) or _implied(_name_in(child), listed)
            for child in dict.fromkeys(below)
        }
        claimed = {value for values in tagged.values() if values != listed for value in values}
        own = [value for value in self._values(pointer, discriminator) if value not in claimed]
        if not own and not discriminator.mapping and _name_in(pointer) not in claimed:
            own = [_name_in(pointer)]
        return {**({pointer: own} if own else {}), **tagged}

    def is_parent_by_another(self, pointer: str, discriminator: Discriminator) -> bool:
        """True for a component that tells its own subtypes apart by another property."""
        own = self.of(as_object(self._references.target(pointer)))
        return own is not None and own.name != discriminator.name and bool(self.subtypes(pointer))

    def _told_apart_below(self, pointer: str, discriminator: Discriminator) -> set[str]:
        """The subtypes that one of the subtypes tells apart by another property: they have its value of this one."""
        parents = [child for child in self.subtypes(pointer) if self.is_parent_by_another(child, discriminator)]
        return {child for parent in parents for child in self.subtypes(parent)}

    def tags(self, references: Iterable[str | None], discriminator: Discriminator) -> list[list[str]]:
        """For each alternative the values that select it; an empty list if nothing is known, or more than this
        discriminator decides."""
        pointers = [self.pointer_of(reference) for reference in references]
        tags: list[list[str]] = []
        for pointer in pointers:
            if pointer is None or self._decides_itself(pointer, discriminator):
                tags.append([])
                continue
            tags.append(self._values(pointer, discriminator) or [_name_in(pointer)])
        return tags

    def is_own_part(self, subtype: str, parent: str) -> bool:
        """True if the component `subtype` names `parent` in its `allOf` in order to be one of its subtypes: only the
        parent's own members are meant then, not those of its other subtypes."""
        raw = as_object(self._references.target(parent))
        branches = [*as_array(raw.get("oneOf")), *as_array(raw.get("anyOf"))]
        if branches:
            return any(self.pointer_of(as_object(branch).get("$ref")) == subtype for branch in branches)
        discriminator = self.hierarchy(parent)
        return discriminator is not None and subtype in self.members(parent, discriminator)

    def _decides_itself(self, pointer: str, discriminator: Discriminator) -> bool:
        """True for an alternative that has alternatives or subtypes of its own."""
        raw = as_object(self._references.target(pointer))
        if "oneOf" in raw or "anyOf" in raw:
            return True
        own = self.inherited(pointer)
        return own is not None and own.name == discriminator.name and bool(self.subtypes(pointer))

    def _values(self, pointer: str, discriminator: Discriminator) -> list[str]:
        """The values that select a component by the mapping, or else by its own words."""
        raw = as_object(self._references.target(pointer))
        mapped = [value for value, target in discriminator.mapping.items() if target == pointer]
        fixed = self.fixed(raw, discriminator.name)
        if mapped:
            others = {value for value, target in discriminator.mapping.items() if target != pointer}
            further = [value for value in fixed if value not in others and value not in mapped]
            agreed = [value for value in mapped if value in fixed]
            return [*mapped, *further] if not agreed else [*agreed, *further]
        named = raw.get("x-ms-discriminator-value")
        return [named] if isinstance(named, str) else fixed

    def fixed(self, raw: Any, name: str, depth: int = 0) -> list[str]:
        """The strings that the schema's own words allow for a property, without those of its parents."""
        if not is_object(raw) or depth > _DEPTH:
            return []
        member = as_object(raw.get("properties")).get(name)
        if is_object(member) and isinstance(member.get("$ref"), str):
            try:
                member = self._references.follow(member)
            except Unresolvable:
                member = None
        if is_object(member):
            values = [member["const"]] if "const" in member else as_array(member.get("enum"))
            texts = [as_text(value) or str(value) for value in values if isinstance(value, str | int)]
            if texts:
                return list(dict.fromkeys(texts))
        for part in as_array(raw.get("allOf")):
            if "$ref" not in as_object(part) and (values := self.fixed(part, name, depth + 1)):
                return values
        return []

    def _parents(self, raw: Any) -> list[str]:
        parts = as_array(as_object(raw).get("allOf"))
        pointers = (self.pointer_of(as_object(part).get("$ref")) for part in parts)
        return [pointer for pointer in pointers if pointer is not None]

    def _adds_something(self, pointer: str) -> bool:
        """False for a component that only describes another one again, or requires more of its members."""
        raw = as_object(self._references.target(pointer))
        parts = [part for part in as_array(raw.get("allOf")) if "$ref" not in as_object(part)]
        return bool(raw.keys() - _ADDS_NOTHING) or any(as_object(part).keys() - _ADDS_NOTHING for part in parts)

    def _mapped(self, target: Any) -> str | None:
        """A mapping names a schema by a reference or by its name alone."""
        if not isinstance(target, str):
            return None
        if target in self._schemas:
            return f"{self._place}{escape(target)}"
        return self.pointer_of(target)


def _implied(name: str, listed: list[str]) -> list[str]:
    """The values of a schema that no mapping names: its name, or what its parent lists that is spelt like it, or all
    that the parent lists."""
    if not listed or name in listed:
        return [name]
    spelt = _plain(name)
    return [value for value in listed if _plain(value) == spelt] or listed


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _name_in(pointer: str) -> str:
    return unescape(pointer.rpartition("/")[2])
