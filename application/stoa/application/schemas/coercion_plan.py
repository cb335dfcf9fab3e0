"""Makes the plan of a schema's coercions, once, at registration.

A place is described by all schemas that certainly apply to it: those joined by `allOf` and `$ref`, and of `anyOf` and
`oneOf` the facts that all branches share, or the only branch that is left for objects or arrays. Other keywords
(conditions, `not`, patterns of names, references by name) are left out: a schema that is left out allows anything, so
that less is coerced and never a value that fitted.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from stoa.application.schemas.coercion import Alternative, ArrayPlan, JsonType, ObjectPlan, PlacePlan, Tags, json_type
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.schema_document import SchemaDocument

_MAX_WORK = 20_000
"""Upper bound on the schemas read for one plan; places behind it are not coerced."""
_MAX_JOINED = 64
_MAX_NESTED = 16
_TAG_LEVELS = 2
"""Alternatives within alternatives in which the fixed values of members are looked for."""
_NULL = frozenset({"null"})
_ARRAY = frozenset({"null", "array"})
_ALL = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class _Branches(NamedTuple):
    """The alternatives of one `anyOf` or `oneOf`."""

    schemas: tuple[Any, ...]


_Fact = JsonObject | _Branches


class _Kinds(NamedTuple):
    types: frozenset[JsonType]
    texts: frozenset[str] | None


_UNKNOWN = _Kinds(_ALL, None)


def coercion_plan(
    schema: JsonObject, *, is_lenient: bool = False, document: SchemaDocument | None = None
) -> ObjectPlan | None:
    """The plan of a schema of arguments; None if nothing can be coerced. `is_lenient`: numbers and truth values may
    stand for the text that they are written as. `document`: that of the schema, if it is made already."""
    return _Planner(schema, document or SchemaDocument(schema), is_lenient=is_lenient).made()


class _Planner:
    def __init__(self, root: JsonObject, document: SchemaDocument, *, is_lenient: bool) -> None:
        self._root = root
        self._is_lenient = is_lenient
        self._document = document
        dialect = str(root.get("$schema"))
        self._hides_siblings = "/draft-0" in dialect
        """True for drafts up to 7, in which siblings of `$ref` have no effect."""
        self._has_tuples_in_items = "draft" in dialect and "2020-12" not in dialect
        self._work = _MAX_WORK
        self._places: dict[tuple[int, ...], PlacePlan] = {}
        self._waiting: list[tuple[PlacePlan, list[_Fact]]] = []
        self._branches: dict[int, _Branches] = {}
        self._members_of_all: dict[tuple[int, str], _Branches] = {}
        """Facts that the alternatives of one choice give about a member, by the choice and the name."""
        self._made: set[int] = set()

    def made(self) -> ObjectPlan | None:
        root = self._place([self._root])
        if root is None:
            return None
        while self._waiting:
            place, facts = self._waiting.pop()
            if place.types is None or "object" in place.types:
                place.object = self._object(self._of_kind(facts, "object"))
            if place.types is None or "array" in place.types:
                place.array = self._array(place, self._of_kind(facts, "array"))
        for place in reversed(self._places.values()):  # what lies within was met later
            place.settle()
        return root.object

    def _place(self, schemas: Iterable[Any]) -> PlacePlan | None:
        facts = self._facts(schemas)
        return self._place_of(facts) if facts else None

    def _place_of(self, facts: list[_Fact]) -> PlacePlan:
        key = tuple(sorted(map(id, facts)))
        place = self._places.get(key)
        if place is None:
            kinds = self._kinds(facts, 0)
            types = None if kinds.types == _ALL and kinds.texts is None else kinds.types
            place = self._places[key] = PlacePlan(types, kinds.texts, takes_numbers=self._is_lenient)
            self._waiting.append((place, facts))
        return place

    def _facts(self, schemas: Iterable[Any]) -> list[_Fact]:
        """The facts that hold where all of `schemas` do."""
        facts: dict[int, _Fact] = {}
        waiting = list(schemas)
        while waiting and len(facts) < _MAX_JOINED and self._work > 0:
            schema = waiting.pop()
            self._work -= 1
            if not is_object(schema) or id(schema) in facts:
                continue
            target = self._document.referred(schema)
            if target is not None:
                waiting.append(target)
            if "$ref" in schema and self._hides_siblings:
                continue
            facts[id(schema)] = schema
            joined = schema.get("allOf")
            if is_array(joined):
                waiting += joined
            for keyword in ("anyOf", "oneOf"):
                options = schema.get(keyword)
                if is_array(options) and options:
                    branches = self._branches.setdefault(id(options), _Branches(tuple(options)))
                    facts[id(branches)] = branches
        return list(facts.values())

    def _kinds(self, facts: Iterable[_Fact], nested: int) -> _Kinds:
        types, texts = _ALL, None
        for fact in facts:
            more = self._alternative_kinds(fact, nested) if isinstance(fact, _Branches) else _own_kinds(fact)
            types &= more.types
            if more.texts is not None:
                texts = more.texts if texts is None else texts & more.texts
        return _Kinds(types, texts if "string" in types else None)

    def _alternative_kinds(self, branches: _Branches, nested: int) -> _Kinds:
        if nested >= _MAX_NESTED:
            return _UNKNOWN
        types: frozenset[JsonType] = frozenset()
        texts: frozenset[str] | None = frozenset()
        for branch in branches.schemas:
            if branch is False:
                continue
            kinds = self._kinds(self._facts([branch]), nested + 1)
            types |= kinds.types
            if "string" in kinds.types:
                texts = None if texts is None or kinds.texts is None else texts | kinds.texts
        return _Kinds(types, texts if "string" in types else None)

    def _of_kind(self, facts: list[_Fact], kind: JsonType) -> list[_Fact]:
        """`facts`, and those that follow for values of `kind`: if only one branch allows them, it holds."""
        holding, waiting = {id(fact): fact for fact in facts}, list(facts)
        while waiting and len(holding) < _MAX_JOINED:
            fact = waiting.pop()
            if not isinstance(fact, _Branches):
                continue
            possible = self._possible(fact, kind)
            if len(possible) == 1:
                del holding[id(fact)]
                more = [new for new in self._facts(possible) if id(new) not in holding]
                holding.update((id(new), new) for new in more)
                waiting += more
        return list(holding.values())

    def _possible(self, branches: _Branches, kind: JsonType) -> list[Any]:
        return [
            branch
            for branch in branches.schemas
            if branch is not False and kind in self._kinds(self._facts([branch]), 1).types
        ]

    def _object(self, facts: list[_Fact]) -> ObjectPlan:
        plan = ObjectPlan()
        schemas = [fact for fact in facts if not isinstance(fact, _Branches)]
        choices = [fact for fact in facts if isinstance(fact, _Branches)]
        names = {name: None for schema in schemas for name in as_object(schema.get("properties"))}
        chosen = self._in_all_alternatives(choices[0]) if len(choices) == 1 else {}
        for name in (*names, *(name for name in chosen if name not in names)):
            if self._work <= 0:
                break
            member = self._facts(_of_member(schemas, name))
            member += [chosen[name]] if name in chosen else []
            if member:
                plan.members[name] = self._place_of(member)
        if not any("patternProperties" in schema for schema in schemas):
            plan.others = self._place(_of_others(schemas))
        required = _required(schemas)
        plan.optional = frozenset(
            name
            for name, place in plan.members.items()
            if name not in required and place.types is not None and "null" not in place.types
        )
        if len(choices) == 1:
            self._add_alternatives(plan, choices[0], facts)
        return plan

    def _in_all_alternatives(self, choice: _Branches) -> dict[str, _Branches]:
        """Members that all alternatives of a choice name, each with what the alternatives say of it."""
        if id(choice) in self._made:
            return {}  # one level is enough: schemas that contain themselves would have no end of them
        described = [
            [fact for fact in self._facts([branch]) if not isinstance(fact, _Branches)]
            for branch in self._possible(choice, "object")
        ]
        named = [{name for schema in schemas for name in as_object(schema.get("properties"))} for schemas in described]
        members: dict[str, _Branches] = {}
        for name in sorted(named[0]) if len(named) > 1 else ():
            if not all(name in names for names in named):
                continue
            key = id(choice), name
            if key not in self._members_of_all:
                said = [{"allOf": _of_member(schemas, name)} for schemas in described]
                made = self._members_of_all[key] = _Branches(tuple(said))
                self._made.add(id(made))
            members[name] = self._members_of_all[key]
        return members

    def _add_alternatives(self, plan: ObjectPlan, choice: _Branches, facts: list[_Fact]) -> None:
        base: dict[int, _Fact] = {id(fact): fact for fact in facts if fact is not choice}
        for branch in self._possible(choice, "object"):
            more = self._facts([branch])
            tags = self._tags(more, 0)
            joined = base | {id(fact): fact for fact in more}
            required = _required(fact for fact in joined.values() if not isinstance(fact, _Branches))
            plan.alternatives.append(Alternative(tags, required, self._place_of(list(joined.values()))))

    def _tags(self, facts: Iterable[_Fact], nested: int) -> dict[str, Tags]:
        """The fixed values of members; of alternatives within, those of members that each of them fixes."""
        schemas = [fact for fact in facts if not isinstance(fact, _Branches)]
        names = {name for schema in schemas for name in as_object(schema.get("properties"))}
        tags = {name: tag for name in names if (tag := self._tag(_of_member(schemas, name))) is not None}
        for choice in facts:
            if isinstance(choice, _Branches) and nested < _TAG_LEVELS:
                options = [self._tags(self._facts([branch]), nested + 1) for branch in self._possible(choice, "object")]
                for name in options[0] if options else ():
                    if not all(name in option for option in options):
                        continue
                    tags.setdefault(name, frozenset[tuple[str, Any]]().union(*(option[name] for option in options)))
        return tags

    def _tag(self, schemas: Iterable[Any]) -> Tags | None:
        for fact in self._facts(schemas):
            values = None if isinstance(fact, _Branches) else _fixed(fact)
            if values is not None and not any(isinstance(value, (dict, list)) for value in values):
                kinds = ((json_type(value) or "", value) for value in values)
                return frozenset(("number" if kind == "integer" else kind, value) for kind, value in kinds)
        return None

    def _array(self, place: PlacePlan, facts: list[_Fact]) -> ArrayPlan:
        schemas = [fact for fact in facts if not isinstance(fact, _Branches)]
        plan = ArrayPlan()
        firsts = [self._tuple_of(schema) for schema in schemas]
        length = max(map(len, firsts), default=0)
        if length > _MAX_JOINED:
            return plan
        for position in range(length):
            entries = [
                first[position] if position < len(first) else self._rest_of(schema)
                for first, schema in zip(firsts, schemas, strict=True)
            ]
            plan.first.append(self._place(entries))
        plan.rest = self._place([self._rest_of(schema) for schema in schemas])
        is_certain = len(schemas) == len(facts) and not plan.first
        plan.takes_single = is_certain and place.types is not None and place.types | _NULL == _ARRAY
        return plan

    def _tuple_of(self, schema: JsonObject) -> list[Any]:
        entries = schema.get("items" if self._has_tuples_in_items else "prefixItems")
        return entries if is_array(entries) else []

    def _rest_of(self, schema: JsonObject) -> Any:
        if self._has_tuples_in_items and is_array(schema.get("items")):
            return schema.get("additionalItems")
        return schema.get("items")


def _own_kinds(schema: JsonObject) -> _Kinds:
    named = schema.get("type")
    types: set[JsonType] = set(_ALL)
    if isinstance(named, str):
        types = {named}
    elif is_array(named):
        types = {value for value in named if isinstance(value, str)}
    if "number" in types:
        types.add("integer")
    values = _fixed(schema)
    if values is None:
        return _Kinds(frozenset(types), None)
    kinds = {kind for value in values if (kind := json_type(value)) is not None}
    if "number" in kinds:
        kinds.add("integer")
    return _Kinds(frozenset(types & kinds), frozenset(value for value in values if isinstance(value, str)))


def _fixed(schema: JsonObject) -> list[Any] | None:
    """The values that `const` or `enum` allows."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if is_array(values) else None


def _of_member(schemas: Iterable[JsonObject], name: str) -> list[Any]:
    applied: list[Any] = []
    for schema in schemas:
        properties = as_object(schema.get("properties"))
        if name in properties:
            applied.append(properties[name])
        elif "patternProperties" not in schema:
            applied.append(schema.get("additionalProperties"))
    return applied


def _of_others(schemas: Iterable[JsonObject]) -> list[Any]:
    return [schema.get("additionalProperties") for schema in schemas]


def _required(schemas: Iterable[JsonObject]) -> frozenset[str]:
    required: set[str] = set()
    for schema in schemas:
        names = schema.get("required")
        if is_array(names):
            required.update(name for name in names if isinstance(name, str))
    return frozenset(required)
