"""Reads what the API server sends: events of a watch, and pages of a list. Pure, for a BoundedExecutor.

Tenants write the objects, so one that cannot be read is an object with a problem: the others are read all the same.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import pydantic_core

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.documents import bounded_content

Key = tuple[str, str]
"""Namespace and name; the namespace of an object without one is empty."""
Keep = Callable[[JsonObject], JsonObject | str]
"""The part of an object that is kept, or the problem with it. Pickled to the worker process: a function of a module."""

Packed = list[Any]
"""The members of one value, in order."""

TENANT_LABEL = "gostoa.dev/tenant"
_END_OF_INITIAL_EVENTS = "k8s.io/initial-events-end"
_UNREADABLE = "is nested too deeply, or holds text that is not Unicode"
_TOKEN = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*+")(?P<colon>\s*:)?|(?P<open>[{\[])|(?P<close>[}\]])|(?P<number>-?\d+)')
_IDENTITY = frozenset({"namespace", "name", "uid", "resourceVersion", "generation"})


@dataclass(frozen=True, slots=True)
class ApiObject:
    """One object of the API server, reduced to what is used of it."""

    key: Key
    uid: str
    version: str
    """Its resourceVersion."""
    generation: int
    is_leaving: bool
    """Its deletion was asked for; finalizers, or for a namespace what it holds, may keep it for a while."""
    content: JsonObject | None
    """None: it cannot be read; `problem` gives the reason."""
    problem: str = ""
    status: JsonObject = field(default_factory=dict[str, Any])

    def is_same(self, other: "ApiObject") -> bool:
        """True if nothing changed but the status and metadata that the gateway does not read."""
        return (self.uid, self.is_leaving, self.problem, self.content) == (
            other.uid,
            other.is_leaving,
            other.problem,
            other.content,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: ApiObject | None = None
    version: str = ""
    """The resourceVersion from which a watch can go on after it."""
    ends_initial_events: bool = False
    error: JsonObject = field(default_factory=dict[str, Any])
    """The Status object of an ERROR."""


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The end of one page of a list."""

    version: str
    rest: str
    """The `continue` token of the next page; empty: the list ends here."""
    is_readable: bool = True
    """False: the page could not be read as a whole, and `rest` is unknown."""


def manifest_content(value: JsonObject) -> JsonObject | str:
    """The manifest as a file would have it: without what the cluster adds, so that an unchanged one stays equal."""
    metadata = as_object(value.get("metadata"))
    labels = as_object(metadata.get("labels"))
    kept: JsonObject = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
    if TENANT_LABEL in labels:
        kept["labels"] = {TENANT_LABEL: labels[TENANT_LABEL]}
    content = {name: part for name, part in value.items() if name not in {"metadata", "status"}}
    return bounded_content({**content, "metadata": kept})


def entries(value: JsonObject) -> JsonObject | str:
    """The entries of a ConfigMap or Secret."""
    return {name: as_object(value.get(name)) for name in ("data", "binaryData")}


def nothing(value: JsonObject) -> JsonObject | str:  # noqa: ARG001  # a Keep
    """Nothing: that the object is there is all that counts."""
    return {}


def events_of(lines: Iterable[bytes], keep: Keep) -> Iterator[Event]:
    """The events in the lines of a watch, in order."""
    for line in lines:
        try:
            value = as_object(pydantic_core.from_json(line))
        except ValueError:
            yield unreadable_event(line)
            continue
        kind, body = as_text(value.get("type")), as_object(value.get("object"))
        metadata = as_object(body.get("metadata"))
        version = as_text(metadata.get("resourceVersion"))
        if kind == "ERROR":
            yield Event(kind, error=body)
        elif kind == "BOOKMARK":
            is_end = as_object(metadata.get("annotations")).get(_END_OF_INITIAL_EVENTS) == "true"
            yield Event(kind, version=version, ends_initial_events=is_end)
        else:
            yield Event(kind, _object(body, keep), version)


def page_of(text: bytes, keep: Keep) -> Iterator[ApiObject | PageEnd]:
    """The objects of one page of a list, then its end."""
    try:
        page = as_object(pydantic_core.from_json(text))
    except ValueError:
        yield from unreadable_page(text)
        return
    # The items of a list of built-in kinds name neither their apiVersion nor their kind.
    for item in as_array(page.get("items")):
        if is_object(item):
            yield _object(item, keep)
    metadata = as_object(page.get("metadata"))
    yield PageEnd(as_text(metadata.get("resourceVersion")), as_text(metadata.get("continue")))


def unreadable_event(line: bytes) -> Event:
    """The event whose object has a problem, because it cannot be parsed."""
    kind = re.match(rb'\{\s*"type"\s*:\s*"([A-Z]+)"', line)
    unreadable = _unreadable(_identity_in(line, ("object",)))
    return Event("" if kind is None else kind[1].decode("ascii"), unreadable, unreadable.version)


def unreadable_page(text: bytes) -> list[ApiObject | PageEnd]:
    """The first object of a page that cannot be parsed, and the page's end."""
    identity = _identity_in(text, ("items", None))
    end = _identity_in(text, (), frozenset({"resourceVersion", "continue"}))
    objects = [_unreadable(identity)] if identity.get("name") else []
    return [*objects, PageEnd(as_text(end.get("resourceVersion")), as_text(end.get("continue")), is_readable=False)]


def packed_events(lines: Iterable[bytes], keep: Keep) -> Iterator[Packed]:
    """`events_of`, in the plain values that the worker process may give; `unpacked_event` undoes it."""
    for event in events_of(lines, keep):
        yield [
            event.type,
            event.object and _packed(event.object),
            event.version,
            event.ends_initial_events,
            event.error,
        ]


def unpacked_event(packed: Packed) -> Event:
    kind, content, version, ends_initial_events, error = packed
    return Event(kind, content and ApiObject(*content), version, ends_initial_events, error)


def packed_page(text: bytes, keep: Keep) -> Iterator[Packed]:
    """`page_of`, in plain values; `unpacked_part` undoes it."""
    return map(_packed, page_of(text, keep))


def unpacked_part(packed: Packed) -> ApiObject | PageEnd:
    return (ApiObject if len(packed) == len(fields(ApiObject)) else PageEnd)(*packed)


def _packed(part: ApiObject | PageEnd) -> Packed:
    return [getattr(part, member.name) for member in fields(part)]


def _object(body: JsonObject, keep: Keep) -> ApiObject:
    metadata = as_object(body.get("metadata"))
    kept = keep(body)
    generation = metadata.get("generation")
    return ApiObject(
        key=(as_text(metadata.get("namespace")), as_text(metadata.get("name"))),
        uid=as_text(metadata.get("uid")),
        version=as_text(metadata.get("resourceVersion")),
        generation=generation if isinstance(generation, int) else 0,
        is_leaving=bool(metadata.get("deletionTimestamp")),
        content=None if isinstance(kept, str) else kept,
        problem=kept if isinstance(kept, str) else "",
        status=as_object(body.get("status")),
    )


def _unreadable(identity: JsonObject) -> ApiObject:
    generation = identity.get("generation", "")
    return ApiObject(
        key=(as_text(identity.get("namespace")), as_text(identity.get("name"))),
        uid=as_text(identity.get("uid")),
        version=as_text(identity.get("resourceVersion")),
        generation=int(generation) if generation else 0,
        is_leaving=False,
        content=None,
        problem=_UNREADABLE,
    )


def _identity_in(text: bytes, place: tuple[str | None, ...], members: frozenset[str] = _IDENTITY) -> JsonObject:
    """These `members` of the `metadata` at `place` (None: any element of an array). Reads tokens one by one, because
    the text is too deep for a parser."""
    path = [*place, "metadata"]
    found: JsonObject = {}
    keys: list[str | None] = []
    for token in _TOKEN.finditer(text.decode("utf-8", "replace")):
        if token["open"]:
            keys.append(None)
        elif token["close"]:
            if keys:
                keys.pop()
        elif token["colon"] and keys:
            keys[-1] = token["text"][1:-1]
        elif len(keys) == len(path) + 1 and keys[-1] in members and keys[:-1] == path:
            found.setdefault(str(keys[-1]), token["number"] or token["text"][1:-1])
    return found
