"""Explains, in a sentence for the model, how an answer goes on: the next page of a list, or the state of work that the
API has only accepted."""

import re
from collections.abc import Iterable

from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.openapi.accept import answer_types
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.parameters import Parameter
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import Unresolvable

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_CURSORS = (
    *("cursor", "pagetoken", "nexttoken", "nextpagetoken", "continuationtoken", "startingafter", "marker", "after"),
    *("pagecursor", "nextcursor", "continue", "startcursor", "exclusivestartkey"),
)
_NEXT = (
    *("nextcursor", "nextpagetoken", "nexttoken", "nextpage", "continuationtoken", "continue", "nextmarker"),
    *("cursor", "endcursor", "nextpagecursor", "lastkey", "next", "after"),
)
_OFFSETS = ("offset", "skip", "startindex", "start", "from", "first")
_LIMITS = ("limit", "maxresults", "pagesize", "perpage", "count", "size", "top", "take", "max")
_PAGES = ("page", "pagenumber", "pageno", "pageindex")
_STREAM = re.compile(r"text/event-stream|application/((x-)?(ndjson|jsonl|jsonlines)|json-lines|(.*\+)?json-seq)")
_DEPTH = 3
"""Levels of the answer in which the place of the next page is sought."""


def continuation_of(
    operation: ApiOperation, parameters: Iterable[Parameter], result: JsonObject | None, context: ConversionContext
) -> str:
    """The sentence; "" where nothing is recognised."""
    accepted = _accepted(operation, context) or _streamed(operation, context)
    if accepted or operation.method not in {"GET", "QUERY"}:
        return accepted
    query = {_plain(one.name): one.name for one in parameters if one.location == "query" and not one.is_required}
    next_place = _next_place(result or {}, _DEPTH)
    cursor = _first(query, _CURSORS)
    if cursor and next_place:
        return f"Next page: pass {next_place!r} of the answer as {cursor!r}."
    if cursor:
        return f"Next page: pass where the answer ended as {cursor!r}."
    limit = _first(query, _LIMITS)
    if offset := _first(query, _OFFSETS) if limit else "":
        return f"Next page: raise {offset!r} by {limit!r}."
    if page := _first(query, _PAGES):
        return f"Next page: raise {page!r} by 1."
    return "Next page: its URL is in the header Link of the answer." if _documents_link(operation, context) else ""


def _first(query: dict[str, str], names: Iterable[str]) -> str:
    return next((query[name] for name in names if name in query), "")


def _next_place(schema: JsonObject, depth: int, path: str = "") -> str:
    """The member of an answer that leads to the next page, as `meta.next_cursor`."""
    properties = as_object(schema.get("properties"))
    plain = {_plain(name): name for name in properties}
    for name in _NEXT:
        if name in plain:
            return path + plain[name]
    for name, member in properties.items() if depth > 1 else ():
        types = as_object(member).get("type", "")
        if "object" in types and (found := _next_place(as_object(member), depth - 1, f"{path}{name}.")):
            return found
    return ""


def may_be_accepted(operation: ApiOperation) -> bool:
    """True if the operation may answer that it has only accepted the work (202)."""
    return "202" in as_object(operation.content.get("responses"))


def _accepted(operation: ApiOperation, context: ConversionContext) -> str:
    responses = as_object(operation.content.get("responses"))
    others = [code for code in responses if code.startswith("2") and code != "202"]
    if "202" not in responses or others:
        return ""
    if "location" in _headers(responses["202"], context):
        return "The API only accepts the work (202); the header Location of the answer says where its state is read."
    return "The API only accepts the work (202) and answers before it is done."


def _streamed(operation: ApiOperation, context: ConversionContext) -> str:
    types = [name.partition(";")[0].strip().lower() for name in answer_types(operation, context)]
    if types and all(_STREAM.fullmatch(name) for name in types):
        return "The answer is a stream; what comes in its first seconds is returned."
    return ""


def _documents_link(operation: ApiOperation, context: ConversionContext) -> bool:
    responses = as_object(operation.content.get("responses"))
    return any("link" in _headers(response, context) for code, response in responses.items() if code.startswith("2"))


def _headers(response: object, context: ConversionContext) -> set[str]:
    try:
        return {name.lower() for name in as_object(context.references.follow(response).get("headers"))}
    except Unresolvable:
        return set()


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())
