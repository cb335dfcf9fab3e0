"""Reads the answers of a GraphQL service (GraphQL, section 7; GraphQL over HTTP, section 6.4).

An answer whose data came is a result; partial data is kept and marked; without data its errors are an error result.
Of each error only message, path and code are shown: extensions may hold stack traces. What answers over HTTP but is no
GraphQL response is told apart by its status.
"""

from typing import Any

import pydantic_core

from stoa.domain.errors import BackendProtocolError
from stoa.domain.results.result import MISSING, RawAnswer, TextContent, ToolResult, shape
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.http_client.backend_answers import MAX_VALUES, has_many_values

MAX_ERRORS = 20
MAX_MESSAGE = 1000
_UNKNOWN_DOCUMENT = frozenset({"PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_NOT_SUPPORTED"})
_UNKNOWN_MESSAGES = frozenset({"PersistedQueryNotFound", "PersistedQueryNotSupported"})


def is_unknown_document(answer: RawAnswer) -> bool:
    """The server does not know the document of the hash that was sent (Automatic Persisted Queries)."""
    if len(answer.body) > 64 * 1024 or not _is_json(answer.media_type):
        return False
    response = _read(answer.body)
    errors = response.get("errors") if response is not None else None
    first = as_object(errors[0]) if is_array(errors) and errors else {}
    code = as_object(first.get("extensions")).get("code")
    return first.get("message") in _UNKNOWN_MESSAGES or code in _UNKNOWN_DOCUMENT


def result_of(answer: RawAnswer, tool: str) -> ToolResult:
    """Raises BackendProtocolError for a success that is no GraphQL response."""
    if not _is_json(answer.media_type):
        return _not_graphql(answer, tool)
    result = shape(answer)
    response = result.structured
    if response is MISSING:  # an error's, too long to be shown whole, or no JSON
        if has_many_values(answer.body):
            raise BackendProtocolError(f"The back end of {tool} answered more than {MAX_VALUES} values")
        response = _read(answer.body)
    if not is_object(response) or not ("data" in response or is_array(response.get("errors"))):
        return _not_graphql(answer, tool)
    errors = response.get("errors")
    if not errors:
        if answer.is_error or not is_object(response.get("data")):
            return _not_graphql(answer, tool)
        return result if "extensions" not in response else _shaped({"data": response["data"]}, answer)
    return _with_errors(response.get("data"), shown_errors(errors), answer)


def event_of(response: JsonObject) -> JsonObject | None:
    """One response of a subscription, with its errors as they are shown; None: it is no GraphQL response."""
    if not ("data" in response or is_array(response.get("errors"))):
        return None
    event: JsonObject = {"data": response.get("data")}
    return {**event, "errors": shown_errors(response["errors"])} if response.get("errors") else event


def _with_errors(data: Any, errors: list[JsonObject], answer: RawAnswer) -> ToolResult:
    lines = [_line(error) for error in errors]
    if not is_object(data) or all(value is None for value in data.values()):
        status = f"{answer.status}: GraphQL errors" if answer.is_error else "GraphQL errors"
        return shape(_renewed(answer, "\n".join(lines).encode(), "text/plain", status=status, is_error=True))
    result = _shaped({"data": data, "errors": errors}, answer)
    note = TextContent("\n".join([f"Partial data, {len(errors)} errors:", *lines]))
    return ToolResult((*result.content, note), result.structured, headers=result.headers)


def _shaped(response: JsonObject, answer: RawAnswer) -> ToolResult:
    body = pydantic_core.to_json(response, inf_nan_mode="constants")
    return shape(_renewed(answer, body, "application/json", status=answer.status, is_error=False))


def _renewed(answer: RawAnswer, body: bytes, media_type: str, *, status: str, is_error: bool) -> RawAnswer:
    return RawAnswer(body, media_type, "utf-8", is_error, status, answer.uri, answer.headers)


def _not_graphql(answer: RawAnswer, tool: str) -> ToolResult:
    if answer.is_error:
        return shape(answer)
    raise BackendProtocolError(f"The back end of {tool} failed: its answer is no GraphQL response")


def shown_errors(errors: Any) -> list[JsonObject]:
    shown: list[JsonObject] = []
    for error in errors[:MAX_ERRORS] if is_array(errors) else []:
        content = as_object(error)
        message = content.get("message")
        entry: JsonObject = {"message": message[:MAX_MESSAGE] if isinstance(message, str) else "unknown error"}
        path, code = content.get("path"), as_object(content.get("extensions")).get("code")
        if is_array(path) and len(path) <= 64 and all(isinstance(step, str | int) for step in path):
            entry["path"] = path
        if isinstance(code, str | int):
            entry["code"] = str(code)[:100]
        shown.append(entry)
    return shown


def _line(error: JsonObject) -> str:
    path = ".".join(str(step) for step in error.get("path", ()))
    code = f" [{error['code']}]" if "code" in error else ""
    return f"{path}: {error['message']}{code}" if path else f"{error['message']}{code}"


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _read(body: bytes) -> JsonObject | None:
    try:
        value = pydantic_core.from_json(body.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError:
        return None
    return value if is_object(value) else None
