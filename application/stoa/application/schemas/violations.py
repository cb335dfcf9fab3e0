"""Finds where a value does not fit a schema and what was expected there, within a budget of steps.

Libraries build a tree of all errors of all alternatives, which is exponential in the depth of the value. This follows
the one alternative that the value seems to be meant for, and is less specific where it would have to search further. It
decides nothing: it explains a value that was refused.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from stoa.application.schemas.patterns import Pattern, PatternTooCostly
from stoa.domain.errors import Violation
from stoa.domain.schema.json_pointer import escape
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.schema_document import SchemaDocument
from stoa.domain.schema.subschemas import KEYWORDS, subschemas

MAX_VIOLATIONS = 5
MAX_STEPS = 6_000
"""Upper bound on steps: one for each pair of a schema and a value, more for slow keywords; some 1 µs each."""

DOES_NOT_FIT = "a value that fits the schema"

_ELSEWHERE = KEYWORDS | {"pattern", "$ref", "$dynamicRef", "$recursiveRef", "uniqueItems", "$schema", "$id"}
_SELDOM = frozenset({"title", "description", "default", "examples", "example", "$comment", "$anchor", "$dynamicAnchor"})
_KEPT = 120
_MAX_TOKEN = 100
"""Characters of a name that a path shows."""
_MOST_ALTERNATIVES = 6
"""Alternatives, values and names that one message tells."""
_DEPTH = 25
"""Nested pairs that are judged on one stack."""


class _OutOfStepsError(Exception):
    pass


class _TooDeepError(Exception):
    def __init__(self, schema: Any, value: Any) -> None:
        super().__init__()
        self.pair = schema, value


def violations_of(
    document: SchemaDocument, patterns: Mapping[str, Pattern], value: Any, path: str = ""
) -> list[Violation]:
    """At least one and at most MAX_VIOLATIONS, naming places and never values. `value` must not fit `document`."""
    search = _Search(document, patterns)
    with contextlib.suppress(_OutOfStepsError, RecursionError, ValueError):
        search.explain(document.root, value, path)
    return search.violations[:MAX_VIOLATIONS] or [Violation(search.deepest, DOES_NOT_FIT)]


class _Search:
    def __init__(self, document: SchemaDocument, patterns: Mapping[str, Pattern]) -> None:
        self._document = document
        self._patterns = patterns
        self._left = MAX_STEPS
        self._leaves: dict[int, Any] = {}
        self._whole: set[int] = set()
        """Schemas whose compiled leaf covers all of their keywords, at little cost."""
        self._in_place: dict[int, tuple[list[Any], list[tuple[str | int | None, Any]]]] = {}
        self._judged: dict[tuple[int, int], bool] = {}
        self._explained: set[tuple[int, int, str]] = set()
        self._depth = 0
        self.violations: list[Violation] = []
        self.deepest = ""
        """The place that was judged last."""

    # -- does it fit?

    def fits(self, schema: Any, value: Any) -> bool:
        """True if the value fits the schema. Values may be nested deeper than the stack allows: parts that are too deep
        are judged separately, and before the rest."""
        self._step(1)  # also for what was judged before: an array may have a million entries that are the same
        if id(schema) in self._whole:
            return bool(self._leaf(schema).is_valid(value))
        waiting, answer = [(schema, value)], True
        while waiting:
            try:
                answer = self._judge(*waiting[-1])
                waiting.pop()
            except _TooDeepError as deeper:
                if self._depth:
                    raise
                waiting.append(deeper.pair)
        return answer

    def _judge(self, schema: Any, value: Any) -> bool:
        if not is_object(schema):
            return schema is not False
        key = (id(schema), id(value))
        verdict = self._judged.get(key)
        if verdict is not None:
            return verdict
        if self._depth >= _DEPTH:
            raise _TooDeepError(schema, value)
        self._step(3)
        self._judged[key] = True  # meets itself only where a schema refers to itself in place
        self._depth += 1
        try:
            verdict = self._judged[key] = self._fits(schema, value)
        except _TooDeepError:
            del self._judged[key]
            raise
        finally:
            self._depth -= 1
        return verdict

    def _fits(self, schema: JsonObject, value: Any) -> bool:
        return (
            self._fits_plain(schema, value)
            and all(self.fits(part, value) for part in self._demanded(schema, value))
            and all(self.fits(part, entry) for _, part, entry in _below(schema, value, self._matches))
            and next(self._chosen(schema, value), None) is None
        )

    def _fits_plain(self, schema: JsonObject, value: Any) -> bool:
        """True if the value fits the keywords without subschemas."""
        return self._leaf(schema).is_valid(value) and next(self._against_texts(schema, value), None) is None

    def _plain(self, schema: JsonObject, value: Any) -> Iterator[str]:
        """Messages of keywords without subschemas that `value` violates."""
        leaf = self._leaf(schema)
        if not leaf.is_valid(value):
            self._step(4 + _size(value) // 32)
            is_listed = not self._contradicts(schema, ("const", "enum"), value)
            for error in leaf.iter_errors(_shallow(value)):  # makes a copy of what it is given, in all its depth
                if not (is_listed and error.schema_path[-1] in {"const", "enum"}):
                    yield error.message[:200]
        yield from self._against_texts(schema, value)

    def _against_texts(self, schema: JsonObject, value: Any) -> Iterator[str]:
        text = schema.get("pattern")
        if isinstance(text, str) and isinstance(value, str):
            yield from self._against_pattern(text, value)
        if schema.get("uniqueItems") is True and is_array(value) and not self._is_distinct(value):
            yield "value has non-unique elements"

    def _leaf(self, schema: JsonObject) -> Any:
        cached = self._leaves.get(id(schema))
        if cached is not None:
            return cached
        self._step(8 + _nodes(schema) // 8)
        plain = {
            keyword: value for keyword, value in schema.items() if keyword not in _ELSEWHERE and keyword not in _SELDOM
        }
        draft = self._document.root.get("$schema")
        if isinstance(draft, str):
            plain["$schema"] = draft
        if not (_ELSEWHERE & schema.keys() or "enum" in schema):
            self._whole.add(id(schema))
        leaf = self._leaves[id(schema)] = jsonschema_rs.validator_for(plain, mask="value", offline=True)
        return leaf

    def _against_pattern(self, text: str, value: str) -> Iterator[str]:
        self._step(4 + len(value) // 256)
        try:
            if not self._patterns[text].matches(value):
                yield f'value does not match "{text[:_KEPT]}"'
        except PatternTooCostly:
            self._left = 0
            yield f'a shorter text, or a simpler one: matching it with "{text[:_KEPT]}" was given up'

    def _matches(self, name: str, text: str) -> bool:
        self._step(1 + len(text) // 256)
        try:
            return self._patterns[name].matches(text)
        except PatternTooCostly as caught:
            raise _OutOfStepsError from caught

    def _is_distinct(self, value: list[Any]) -> bool:
        self._step(len(value) // 16)
        return bool(jsonschema_rs.is_valid({"uniqueItems": True}, value, offline=True)) if len(value) < 256 else True

    def _demanded(self, schema: JsonObject, value: Any) -> Iterator[Any]:
        """Subschemas that `value` itself has to fit as well."""
        everywhere, depending = self._parts_in_place(schema)
        yield from everywhere
        if depending and is_object(value):
            yield from (part for name, part in depending if name in value)
        if "if" in schema:
            branch = "then" if self.fits(schema["if"], value) else "else"
            if branch in schema:
                yield schema[branch]

    def _parts_in_place(self, schema: JsonObject) -> tuple[list[Any], list[tuple[str | int | None, Any]]]:
        """Subschemas for the same place: those that always apply, and those that apply if the value has a member of
        this name. Looked up once for each schema: a reference takes longer to resolve than all else of a step."""
        parts = self._in_place.get(id(schema))
        if parts is None:
            everywhere: list[Any] = []
            depending: list[tuple[str | int | None, Any]] = []
            target = self._document.referred(schema)
            if target is not None:
                everywhere.append(target)
            for subschema in subschemas(schema):
                if subschema.keyword == "allOf":
                    everywhere.append(subschema.schema)
                elif subschema.keyword in {"dependentSchemas", "dependencies"}:
                    depending.append((subschema.key, subschema.schema))
            parts = self._in_place[id(schema)] = everywhere, depending
        return parts

    def _chosen(self, schema: JsonObject, value: Any) -> Iterator[str]:
        """Messages of `anyOf`, `oneOf`, `not`, `contains` and `propertyNames` that `value` violates."""
        for keyword in ("anyOf", "oneOf"):
            branches = schema.get(keyword)
            if is_array(branches):
                fitting = sum(1 for branch in branches if self.fits(branch, value))
                if not fitting:
                    yield f"value is not valid under any of the schemas listed in the '{keyword}' keyword"
                elif keyword == "oneOf" and fitting > 1:
                    yield "value is valid under more than one of the schemas listed in the 'oneOf' keyword"
        if "not" in schema and self.fits(schema["not"], value):
            yield "a value that does not fit the schema under 'not'"
        needs_one = "contains" in schema and is_array(value) and schema.get("minContains", 1) > 0
        if needs_one and not any(self.fits(schema["contains"], entry) for entry in value):
            yield "an entry that fits the schema under 'contains'"
        names = value if "propertyNames" in schema and is_object(value) else ()
        if not all(self.fits(schema["propertyNames"], name) for name in names):
            yield "other names of properties (propertyNames)"

    # -- where does it not?

    def explain(self, schema: Any, value: Any, path: str) -> None:
        """Add the violations of a value that does not fit; there is always one."""
        pair = id(schema), id(value), path
        if pair in self._explained:  # by another way: to go it again would double the work with each `allOf` of two
            return
        self._explained.add(pair)
        self._step(1)
        self.deepest = path
        before = len(self.violations)
        if not is_object(schema):
            self._tell(path, "no value at all: nothing is allowed here")
            return
        for message in self._plain(schema, value):
            self._tell(path, message)
        for part in self._demanded(schema, value):
            if not self.fits(part, value):
                self.explain(part, value, path)
        for name, part, entry in _below(schema, value, self._matches):
            if len(self.violations) >= MAX_VIOLATIONS:
                return
            if self.fits(part, entry):
                continue
            if part is False and isinstance(name, str) and name not in as_object(schema.get("properties")):
                self._tell(path, f"no property {name[:_KEPT]!r}: it is unexpected")
            else:
                self.explain(part, entry, f"{path}/{escape(str(name))[:_MAX_TOKEN]}")
        self._explain_choice(schema, value, path)
        if len(self.violations) == before:
            self._tell(path, DOES_NOT_FIT)

    def _explain_choice(self, schema: JsonObject, value: Any, path: str) -> None:
        for message in self._chosen(schema, value):
            meant, wrong = None, None
            for keyword in ("anyOf", "oneOf"):
                if f"under any of the schemas listed in the '{keyword}'" in message:
                    meant = self._meant(schema[keyword], value)
                    wrong = None if meant is not None else self._wrong_selector(schema[keyword], value)
            if meant is not None:
                self.explain(meant, value, path)
            elif wrong is not None:
                name, values = wrong
                self._tell(f"{path}/{escape(name)[:_MAX_TOKEN]}", f"value is not one of {values[:_KEPT]}")
            else:
                self._tell(path, message + self._alternatives_in(message, schema))

    def _alternatives_in(self, message: str, schema: JsonObject) -> str:
        """The alternatives that a message says do not fit, in words; "" where one cannot be told in a few."""
        keyword = next(
            (name for name in ("anyOf", "oneOf") if f"any of the schemas listed in the '{name}'" in message), ""
        )
        told = [self._in_words(branch) for branch in schema.get(keyword, ())[:_MOST_ALTERNATIVES]]
        return f": {'; '.join(dict.fromkeys(told))}" if told and all(told) else ""

    def _in_words(self, branch: Any) -> str:
        """`integer`, `"a" or "b"`, `object with id`: what the keywords of one alternative ask for."""
        self._step(1)
        target = self._document.referred(branch) if is_object(branch) else None
        plain = {**as_object(target), **as_object(branch)}
        values = [plain["const"]] if "const" in plain else plain.get("enum", ())
        if values:
            return " or ".join(json.dumps(value)[:_KEPT] for value in values[:_MOST_ALTERNATIVES])
        types, required = plain.get("type", ""), plain.get("required", ())
        kind = types if isinstance(types, str) else " or ".join(types)
        return f"{kind or 'value'} with {', '.join(required[:_MOST_ALTERNATIVES])}"[:_KEPT] if required else kind

    def _meant(self, branches: list[Any], value: Any) -> Any:
        """The only alternative whose type and constants fit, if there is one."""
        possible = [branch for branch in branches if not self._is_ruled_out(branch, value, 0)]
        return possible[0] if len(possible) == 1 else None

    def _wrong_selector(self, branches: list[Any], value: Any) -> tuple[str, str] | None:
        """The property by whose fixed values all alternatives refuse `value`, and these values: it selects one."""
        if not is_object(value):
            return None
        refusing = [self._refusing_members(branch, value, 0) for branch in branches]
        names = [name for name in refusing[0] if all(name in members for members in refusing)]
        if len(names) != 1:
            return None
        values = [json.dumps(one) for members in refusing for one in members[names[0]]]
        return names[0], ", ".join(dict.fromkeys(values))

    def _refusing_members(self, schema: Any, value: JsonObject, depth: int) -> dict[str, list[Any]]:
        """Members of `value` that the fixed values of an alternative refuse."""
        self._step(1)
        if not is_object(schema) or depth >= 8:
            return {}
        members: dict[str, list[Any]] = {}
        for name, part in _properties(schema, value):
            if self._contradicts(part, ("const", "enum"), value[name]):
                members[name] = [part["const"]] if "const" in part else part["enum"]
        for part in (self._document.referred(schema), *(schema.get("allOf") or ())):
            members |= self._refusing_members(part, value, depth + 1)
        return members

    def _is_ruled_out(self, schema: Any, value: Any, depth: int) -> bool:
        self._step(1)
        if not is_object(schema):
            return schema is False
        if self._contradicts(schema, ("type", "const", "enum"), value):
            return True
        for name, part in _properties(schema, value):
            if self._contradicts(part, ("const", "enum"), value[name]):
                return True
        return depth < 8 and any(self._is_ruled_out(part, value, depth + 1) for part in self._parts_in_place(schema)[0])

    def _contradicts(self, schema: JsonObject, keywords: tuple[str, ...], value: Any) -> bool:
        """True if these keywords of `schema` alone reject the value."""
        telling: JsonObject = {keyword: schema[keyword] for keyword in keywords if keyword in schema}
        if not telling:
            return False
        self._step(8 + _nodes(telling) // 8)
        return not jsonschema_rs.is_valid(telling, value, offline=True)

    def _tell(self, path: str, message: str) -> None:
        violation = Violation(path, message)
        if violation not in self.violations:
            self.violations.append(violation)
        if len(self.violations) >= MAX_VIOLATIONS:
            raise _OutOfStepsError

    def _step(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _OutOfStepsError


def _size(value: Any) -> int:
    return len(value) if is_array(value) or is_object(value) or isinstance(value, str) else 1


def _nodes(schema: JsonObject) -> int:
    """Counts the values within `const` and `enum`: each is copied when these are compiled."""
    count, waiting = 0, [schema[keyword] for keyword in ("const", "enum") if keyword in schema]
    while waiting and count <= 8 * MAX_STEPS:
        value = waiting.pop()
        count += _size(value)
        entries = value.values() if is_object(value) else value if is_array(value) else ()
        waiting += [entry for entry in entries if isinstance(entry, (list, dict))]
    return count


def _shallow(value: Any) -> Any:
    """An object or array with the same members or entries, all null."""
    if is_object(value):
        return dict.fromkeys(value)
    return [None] * len(value) if is_array(value) else value


def _properties(schema: JsonObject, value: Any) -> Iterator[tuple[str, JsonObject]]:
    properties = schema.get("properties")
    if is_object(properties) and is_object(value):
        for name, member in properties.items():
            if name in value and is_object(member):
                yield name, member


def _below(schema: JsonObject, value: Any, matches: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Members and entries of `value`, with the schemas that they have to fit."""
    if is_object(value):
        properties, named = as_object(schema.get("properties")), as_object(schema.get("patternProperties"))
        for name, entry in value.items():
            is_known = name in properties
            if is_known:
                yield name, properties[name], entry
            for text, part in named.items():
                if matches(text, name):
                    is_known = True
                    yield name, part, entry
            if not is_known and "additionalProperties" in schema:
                yield name, schema["additionalProperties"], entry
    elif is_array(value):
        items = schema.get("items")
        first: list[Any] = items if is_array(items) else schema.get("prefixItems") or []
        rest = schema.get("additionalItems") if is_array(items) else items
        for position, entry in enumerate(value):
            if position < len(first):
                yield position, first[position], entry
            elif rest is not None:
                yield position, rest, entry
            else:
                return
